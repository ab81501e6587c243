//! The memory that a conversion takes does not depend on the size of its object.

use std::fs;
use std::io::{self, Write};

use fms_lake::{Converter, Growth, Identity, Object, Outcome, Settings, Surroundings, Table, Target};

use super::harness::Memory;

/// The bytes of lines that are held at a time: little, so that small objects have many times as much.
const BUFFER: usize = 512 << 10;

/// Files of which nothing is kept.
struct Discard;

impl Write for Discard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Nowhere(Table);

impl Surroundings for Nowhere {
    type Out = Discard;

    fn table(&mut self, _: &Identity) -> io::Result<Option<Table>> {
        Ok(Some(self.0.clone()))
    }

    fn create(&mut self, _: &Target) -> io::Result<Discard> {
        Ok(Discard)
    }
}

/// Converts rows of so many bytes in all, over two hours. Gives how many there were.
fn convert(bytes: usize) -> usize {
    let columns = "object:string,type:string,command:string,id:bigint,timestamp_iso:timestamp,x:double,text:string";
    let Memory { tables, .. } = Memory::with("o_t_c", columns);
    let mut nowhere = Nowhere(Table { growth: Growth::Open, ..tables["o_t_c"].clone() });
    let settings = Settings { buffer: BUFFER, ..Settings::default() };
    let object = Object { bucket: "raw".into(), key: "topics/large.json".into(), version_id: None };
    let mut converter = Converter::new(&settings, &object, &mut nowhere);
    let (mut given, mut rows) = (0, 0_usize);
    while given < bytes {
        let time = format!("2023-01-01T{:02}:{:02}:{:02}Z", rows % 2, rows / 60 % 60, rows % 60);
        let text = "every text is another one".repeat(4);
        let line = format!(
            r#"{{"object":"o","type":"t","command":"c","id":{},"timestamp_iso":"{time}","x":{rows}.5,"text":"{text} {rows}"}}"#,
            rows % 1000
        );
        given += line.len();
        rows += 1;
        converter.line(line.as_bytes()).expect("converted");
    }
    let conversion = converter.finish().expect("converted");
    let Some(Outcome::Written { files, .. }) = conversion.tables.into_values().next() else { panic!("no file") };
    let stored: usize = files.iter().map(|file| file.rows).sum();
    assert_eq!((stored, files.len()), (rows, 2));
    assert!(files.iter().all(|file| file.parquet_bytes > 0));
    rows
}

/// The most memory that this process has had, KiB. Each test is a process of its own.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn an_object_of_many_times_the_size_takes_no_more_memory() {
    convert(2 * BUFFER);
    let small = peak();
    let rows = convert(12 * BUFFER);
    let large = peak();
    println!("{small} KiB for 2 buffers, {large} KiB for 12 with {rows} rows");
    // What grows are the footers, a few hundred bytes for each row group. The rows would be 5 MiB more as text, and as much
    // again as columns.
    assert!(large < small + (4 << 10), "{small} KiB became {large} KiB");
}
