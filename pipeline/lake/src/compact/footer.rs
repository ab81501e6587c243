//! The schema of a Parquet file in S3, of which no more than its end is read.

use std::io;

use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use tokio::runtime::Handle;

use super::rewrite::unreadable;
use crate::bucket::Bucket;
use crate::bucket::store::Listed;

/// How much of a file is read at first. The footers of most files are shorter.
const END: u64 = 64 << 10;

/// The schema of a file that was listed; `None` if it was changed since. It blocks.
pub(super) fn schema(bucket: &Bucket, file: &Listed, handle: &Handle) -> io::Result<Option<SchemaRef>> {
    let mut length = END.min(file.bytes);
    loop {
        let Some(end) = handle.block_on(bucket.store.end(&file.path, &file.etag, length))? else { return Ok(None) };
        match read(&end, file.bytes) {
            // A footer is never longer than its file.
            Err(ParquetError::NeedMoreData(needed)) if length < file.bytes => {
                length = (needed as u64).clamp(length + 1, file.bytes);
            }
            read => return read.map(Some).map_err(|error| unreadable(bucket, file, &error.into())),
        }
    }
}

fn read(end: &Bytes, bytes: u64) -> Result<SchemaRef, ParquetError> {
    let mut reader = ParquetMetaDataReader::new();
    reader.try_parse_sized(end, bytes)?;
    let metadata = reader.finish()?;
    let file = metadata.file_metadata();
    Ok(parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())?.into())
}
