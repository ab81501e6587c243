//! Changes of S3 objects as a whole: objects that are lost, cut, repeated or stored under another key.

use std::sync::LazyLock;

use regex::Regex;

use super::Instead;
use super::sent::Sent;

/// The two digits at the end of the last folder of a key, such as an hour.
static LAST_DIGITS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(\d\d)(/[^/]*)$").expect("the pattern is constant and valid"));

/// The object is never stored, and the pipeline goes on as if it were.
pub(super) fn lose(sent: &Sent) -> Option<Instead> {
    sent.object().map(|_| Instead::Unsent(String::new()))
}

/// The pipeline is told that the object is stored before it is.
pub(super) fn store_later(sent: &Sent) -> Option<Instead> {
    sent.object().map(|_| Instead::Later(String::new()))
}

/// The second half of the object is lost.
pub(super) fn cut(sent: &Sent) -> Option<Instead> {
    let body = sent.unchunked()?;
    (body.len() > 1).then(|| Instead::request(sent.with_body(body.slice(..body.len() / 2))))
}

/// The object is stored under another name in the same folder.
pub(super) fn rename(sent: &Sent) -> Option<Instead> {
    sent.with_key(&renamed(&sent.object()?.1)).map(Instead::request)
}

/// The object is stored under its own name and under another one.
pub(super) fn repeat(sent: &Sent) -> Option<Instead> {
    let other = sent.with_key(&renamed(&sent.object()?.1))?;
    Some(Instead::Requests(vec![other, sent.clone()]))
}

/// The object is stored in the folder of another hour, as by the time of its arrival.
pub(super) fn move_by_an_hour(sent: &Sent) -> Option<Instead> {
    let (_, key) = sent.object()?;
    let digits: u32 = LAST_DIGITS.captures(&key)?[1].parse().ok()?;
    let key = LAST_DIGITS.replace(&key, format!("{:02}${{2}}", (digits + 1) % 24));
    sent.with_key(&key).map(Instead::request)
}

/// The change, for Parquet files only.
pub(super) fn if_parquet(sent: &Sent, change: fn(&Sent) -> Option<Instead>) -> Option<Instead> {
    sent.object().is_some_and(|(_, key)| key.ends_with(".parquet")).then(|| change(sent))?
}

/// A key of the same folder. The extension stays the same, because readers go by it.
fn renamed(key: &str) -> String {
    let (folder, name) = key.split_at(key.rfind('/').map_or(0, |slash| slash + 1));
    format!("{folder}copy-{name}")
}

#[cfg(test)]
mod tests {
    use super::super::sent::tests::put;
    use super::*;

    /// The path and the body of each request that is made instead.
    fn requests(instead: Option<Instead>) -> Vec<(String, String)> {
        let Some(Instead::Requests(requests)) = instead else { return Vec::new() };
        let shown = |sent: &Sent| (sent.head.uri.to_string(), String::from_utf8_lossy(&sent.body).into_owned());
        requests.iter().map(shown).collect()
    }

    #[test]
    fn an_object_is_lost_cut_renamed_and_repeated() {
        let sent = put("/raw/a/b.json", "1234");
        let own = |path: &str, body: &str| (path.to_owned(), body.to_owned());
        assert!(matches!(lose(&sent), Some(Instead::Unsent(_))));
        assert_eq!(requests(cut(&sent)), [own("/raw/a/b.json", "12")]);
        assert_eq!(requests(rename(&sent)), [own("/raw/a/copy-b.json", "1234")]);
        assert_eq!(requests(repeat(&sent)), [own("/raw/a/copy-b.json", "1234"), own("/raw/a/b.json", "1234")]);
        assert_eq!(requests(rename(&put("/raw/b.json", ""))), [own("/raw/copy-b.json", "")]);
    }

    #[test]
    fn the_hour_is_at_the_end_of_the_last_folder() {
        let moved = |path: &str| requests(move_by_an_hour(&put(path, ""))).pop().map(|(path, _)| path);
        assert_eq!(
            moved("/raw/ymd=20240101/hour=23/00.json").as_deref(),
            Some("/raw/ymd%3D20240101/hour%3D00/00.json")
        );
        assert_eq!(moved("/raw/2024/07/a").as_deref(), Some("/raw/2024/08/a"));
        assert_eq!(moved("/raw/rows/0001.json"), None);
    }

    #[test]
    fn other_files_are_not_parquet() {
        assert!(if_parquet(&put("/lake/a.parquet", ""), lose).is_some());
        assert!(if_parquet(&put("/lake/a.json", ""), lose).is_none());
    }
}
