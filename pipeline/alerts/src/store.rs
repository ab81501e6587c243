//! Where the state is kept: a file or an object in S3. It is replaced as a whole, and only by those who know what they
//! replace.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use aws_sdk_s3::Client;
use fms_aws::{Error, Retry};
use fms_query::program::{begin_file, retry};
use tokio::runtime::Handle;

use crate::state::{FORMAT, State};

/// Where a state is kept, as it is written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    File(PathBuf),
    Object { bucket: String, key: String },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else { return Ok(Self::File(text.into())) };
        match rest.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() && !key.ends_with('/') => {
                Ok(Self::Object { bucket: bucket.into(), key: key.into() })
            }
            _ => Err("name an object, such as s3://bucket/alerts.json".into()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Object { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

/// The store of one state.
pub(crate) struct Store {
    place: Place,
    s3: Option<(Client, Retry)>,
}

/// Which content a state was read from; nothing if there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version(Option<String>);

impl Version {
    pub fn is_first(&self) -> bool {
        self.0.is_none()
    }
}

impl Store {
    pub fn new(place: Place, runtime: &Handle) -> Self {
        let s3 = matches!(place, Place::Object { .. }).then(|| {
            let aws = fms_aws::load(runtime);
            let own_endpoint = fms_aws::has_own_s3_endpoint(&aws);
            let config = aws_sdk_s3::config::Builder::from(&aws).force_path_style(own_endpoint).build();
            (Client::from_conf(config), retry("fms alerts"))
        });
        Self { place, s3 }
    }

    /// The state, which is a new one if there is none.
    pub async fn load(&self) -> anyhow::Result<(State, Version)> {
        let what = || format!("cannot read the state {}", self.place);
        let (text, version) = match (&self.place, &self.s3) {
            (Place::File(path), _) => match fs::read_to_string(path) {
                Ok(text) => (text.clone(), Version(Some(text))),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok((State::new(), Version(None))),
                Err(error) => return Err(error).with_context(what),
            },
            (Place::Object { bucket, key }, Some((client, retry))) => {
                let call = || async {
                    let answer = client.get_object().bucket(bucket).key(key).send().await.map_err(Error::from)?;
                    let etag = answer.e_tag().map(str::to_owned);
                    let body = answer.body.collect().await.map_err(Error::interrupted)?;
                    Ok::<_, Error>((body.to_vec(), etag))
                };
                let verdict = |error: &Error| {
                    if error.code() == Some("NoSuchKey") {
                        fms_aws::Verdict::Permanent
                    } else {
                        error.verdict_at_start()
                    }
                };
                match retry.run(format!("GetObject {}", self.place), verdict, call).await {
                    Ok((body, Some(etag))) => (String::from_utf8(body).with_context(what)?, Version(Some(etag))),
                    Ok((_, None)) => bail!("{}: S3 gave no ETag", what()),
                    Err(error) if error.code() == Some("NoSuchKey") => return Ok((State::new(), Version(None))),
                    Err(error) => return Err(error).with_context(what),
                }
            }
            (Place::Object { .. }, None) => bail!("{}: there is no client of S3", what()),
        };
        let state: State = serde_json::from_str(&text)
            .with_context(|| format!("{}: it is no state of this program; move it away", what()))?;
        ensure!(state.format == FORMAT, "{}: its format is {}, and this program's {FORMAT}", what(), state.format);
        Ok((state, version))
    }

    /// Replaces the state that was read, and gives what the new one is known by. `None` if somebody else has replaced
    /// it meanwhile: then nothing is changed.
    pub async fn save(&self, state: &State, before: &Version) -> anyhow::Result<Option<Version>> {
        let what = || format!("cannot write the state {}", self.place);
        let mut text = serde_json::to_string_pretty(state).with_context(what)?;
        text.push('\n');
        match (&self.place, &self.s3) {
            (Place::File(path), _) => {
                let is_saved = save_file(path, &text, before).with_context(what)?;
                Ok(is_saved.then_some(Version(Some(text))))
            }
            (Place::Object { bucket, key }, Some((client, retry))) => {
                let call = || async {
                    let request = client.put_object().bucket(bucket).key(key).body(text.clone().into_bytes().into());
                    let request = request.content_type("application/json").set_if_match(before.0.clone());
                    let request = if before.is_first() { request.if_none_match("*") } else { request };
                    request.send().await.map_err(Error::from)
                };
                match retry.run(format!("PutObject {}", self.place), verdict, call).await {
                    Ok(answer) => Ok(answer.e_tag().map(|etag| Version(Some(etag.to_owned())))),
                    Err(error) if is_conflict(&error) => Ok(None),
                    Err(error) => Err(error).with_context(what),
                }
            }
            (Place::Object { .. }, None) => bail!("{}: there is no client of S3", what()),
        }
    }
}

/// Somebody else was faster: no repetition changes that.
fn is_conflict(error: &Error) -> bool {
    matches!(error.code(), Some("PreconditionFailed" | "ConditionalRequestConflict" | "NoSuchKey"))
}

fn verdict(error: &Error) -> fms_aws::Verdict {
    if is_conflict(error) { fms_aws::Verdict::Permanent } else { error.verdict_at_start() }
}

/// Replaces the file while it is locked, unless it has another content by now.
fn save_file(path: &Path, text: &str, before: &Version) -> anyhow::Result<bool> {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", Path::new(&lock).display()))?;
    lock.lock().context("cannot lock it")?;
    let now = match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    if now != before.0 {
        return Ok(false);
    }
    let mut file = begin_file(path)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_an_object() {
        let place = |text: &str| text.parse::<Place>();
        assert_eq!(place("alerts.json"), Ok(Place::File("alerts.json".into())));
        assert_eq!(place("s3://b/a/c.json"), Ok(Place::Object { bucket: "b".into(), key: "a/c.json".into() }));
        assert!(place("s3://b").is_err() && place("s3://b/folder/").is_err() && place("s3:///k").is_err());
    }
}
