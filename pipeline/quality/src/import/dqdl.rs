//! Rules of DQDL, the language of AWS Glue Data Quality, as a suite: `Rules = [ IsComplete "id", RowCount > 0 ]`.

use anyhow::{Context as _, bail, ensure};
use serde_norway::Value;

use crate::written::{WrittenCheck, WrittenSuite, map, number, texts};

/// The suite of a ruleset.
///
/// # Errors
///
/// The text has no list of rules, or a quotation or a bracket is not closed.
pub(crate) fn suite(text: &str, table: &str, owner: &str) -> anyhow::Result<WrittenSuite> {
    let text: String = text.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    let at = text.find("Rules").context("there are no rules; DQDL has them as `Rules = [ … ]`")?;
    let list = text[at..].split_once('[').context("`Rules` is not followed by `= [`")?.1;
    let mut suite = WrittenSuite {
        table: table.to_owned(),
        owner: owner.to_owned(),
        description: String::new(),
        checks: Vec::new(),
        left: Vec::new(),
    };
    for rule in rules(list)? {
        let words = words(&rule)?;
        match check(&words) {
            Ok(check) => suite.checks.push(WrittenCheck { name: rule.replace('"', ""), ..check }),
            Err(why) => suite.left.push(format!("{rule}: {why}")),
        }
    }
    for other in ["Analyzers", "DataSources"] {
        if text.contains(other) {
            suite.left.push(format!("{other}: only rules are checks"));
        }
    }
    ensure!(!suite.checks.is_empty() || !suite.left.is_empty(), "the list of rules is empty");
    Ok(suite)
}

/// A line up to its comment.
fn uncommented(line: &str) -> &str {
    let mut is_quoted = false;
    let comment = line.char_indices().find(|(_, character)| {
        is_quoted ^= *character == '"';
        *character == '#' && !is_quoted
    });
    comment.map_or(line, |(at, _)| &line[..at])
}

/// The rules of a list, up to the bracket that closes it.
fn rules(list: &str) -> anyhow::Result<Vec<String>> {
    let (mut rules, mut rule) = (Vec::new(), String::new());
    let (mut depth, mut is_quoted) = (0_u32, false);
    for character in list.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            '[' | '(' if !is_quoted => depth += 1,
            ']' if !is_quoted && depth == 0 => {
                rules.push(rule);
                let rules = rules.iter().map(|rule| rule.split_whitespace().collect::<Vec<_>>().join(" "));
                return Ok(rules.filter(|rule| !rule.is_empty()).collect());
            }
            ']' | ')' if !is_quoted => depth = depth.saturating_sub(1),
            ',' if !is_quoted && depth == 0 => {
                rules.push(std::mem::take(&mut rule));
                continue;
            }
            _ => {}
        }
        rule.push(character);
    }
    bail!("the list of rules is not closed: `]` or a quotation mark is missing")
}

/// A part of a rule.
#[derive(Debug, Clone, PartialEq)]
enum Word {
    Plain(String),
    Quoted(String),
    List(Vec<String>),
}

fn words(rule: &str) -> anyhow::Result<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = rule.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' => {
                let (quoted, after) =
                    rest[1..].split_once('"').with_context(|| format!("`{rule}`: `\"` is not closed"))?;
                (Word::Quoted(quoted.to_owned()), after)
            }
            '[' => {
                let (list, after) =
                    rest[1..].split_once(']').with_context(|| format!("`{rule}`: `[` is not closed"))?;
                let values = list.split(',').map(|value| value.trim().trim_matches('"').to_owned());
                (Word::List(values.filter(|value| !value.is_empty()).collect()), after)
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || c == '"' || c == '[').unwrap_or(rest.len());
                (Word::Plain(rest[..end].to_owned()), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// The check of a rule, or why there is none.
fn check(words: &[Word]) -> Result<WrittenCheck, String> {
    let Some((Word::Plain(kind), words)) = words.split_first() else {
        return Err("rules that are joined by `and` or `or` have to be rules of their own".to_owned());
    };
    let (words, fail) = threshold(words)?;
    let columns: Vec<&str> = words.iter().map_while(quoted).collect();
    let rest = &words[columns.len()..];
    let check = WrittenCheck::new;
    let checked = match (kind.as_str(), columns.as_slice(), rest) {
        ("IsComplete", [column], []) => check("", "not_null", map([("columns", texts([*column]))])),
        ("Completeness", [column], [Word::Plain(than), Word::Plain(share)]) if than == ">=" || than == ">" => {
            let mut check = check("", "not_null", map([("columns", texts([*column]))]));
            // What is not complete may be as much as the rest.
            check.more.push(("fail", percent(share)?));
            return Ok(check);
        }
        ("IsUnique", [column], []) => check("", "unique", map([("columns", texts([*column]))])),
        // A key is also never missing.
        ("IsPrimaryKey", [_, ..], []) => {
            return Err("it is two checks here: write `not_null` and `unique` of these columns".to_owned());
        }
        ("ColumnExists", ..) => return Err("write `schema`, with the type of the column".to_owned()),
        ("ColumnValues", [column], rest) => values(column, rest)?,
        ("ColumnLength", [column], rest) => {
            let mut bounds = bounds(rest, true)?;
            bounds.insert(0, ("column", (*column).into()));
            check("", "length", Value::Mapping(bounds.into_iter().map(|(key, value)| (key.into(), value)).collect()))
        }
        ("RowCount", [], rest) => {
            let bounds = bounds(rest, true)?;
            check("", "row_count", Value::Mapping(bounds.into_iter().map(|(key, value)| (key.into(), value)).collect()))
        }
        ("DataFreshness", [_], [Word::Plain(than), Word::Plain(count), Word::Plain(unit)])
            if than == "<=" || than == "<" =>
        {
            let unit = match unit.trim_end_matches('s') {
                "hour" => "h",
                "day" => "d",
                "minute" => "m",
                other => return Err(format!("`{other}` is no unit of time")),
            };
            let count: u32 = count.parse().map_err(|_| format!("`{count}` is no number"))?;
            // The duration of a day is 24 hours here.
            let age = if unit == "d" { format!("{}h", 24 * count) } else { format!("{count}{unit}") };
            check("", "freshness", map([("max_age", age.into())]))
        }
        ("ReferentialIntegrity", [column, other], [Word::Plain(is), Word::Plain(share)])
            if is == "=" && share.parse::<f64>().is_ok_and(|share| share >= 1.0) =>
        {
            let (table, to) = other.split_once('.').ok_or("the other column has to be `table.column`")?;
            check("", "in_table", map([("column", (*column).into()), ("table", table.into()), ("to", to.into())]))
        }
        ("CustomSql", [sql], [Word::Plain(is), Word::Plain(zero)]) if is == "=" && zero == "0" => {
            let sql = sql.trim();
            return Err(format!("`sql` has to give the bad rows and not their number: {sql}"));
        }
        _ => return Err("no kind of check here is the same".to_owned()),
    };
    let mut checked = checked;
    checked.more.extend(fail.map(|fail| ("fail", fail)));
    Ok(checked)
}

fn quoted(word: &Word) -> Option<&str> {
    match word {
        Word::Quoted(text) => Some(text),
        _ => None,
    }
}

/// The words before `with threshold > 0.9`, and from which share of bad rows on the check fails then.
fn threshold(words: &[Word]) -> Result<(&[Word], Option<Value>), String> {
    let is = |word: &Word, text: &str| matches!(word, Word::Plain(plain) if plain == text);
    let Some(at) = words.iter().position(|word| is(word, "with")) else { return Ok((words, None)) };
    match &words[at..] {
        [_, threshold, Word::Plain(than), Word::Plain(share)]
            if is(threshold, "threshold") && (than == ">" || than == ">=") =>
        {
            Ok((&words[..at], Some(percent(share)?)))
        }
        _ => Err("only `with threshold > SHARE` is known".to_owned()),
    }
}

/// From which share of bad rows on a check fails, if so many have to be good.
fn percent(good: &str) -> Result<Value, String> {
    let good: f64 = good.parse().map_err(|_| format!("`{good}` is no share"))?;
    // A share such as 0.1 is not exact in binary; a millionth of a percent is.
    let percent = ((1.0 - good) * 1e8).round() / 1e6;
    if (0.0..=100.0).contains(&percent) {
        Ok(format!("{percent} %").into())
    } else {
        Err(format!("{good} is no share"))
    }
}

/// The bounds of `= 5`, `> 3`, `between 1 and 9` and the like. Those of `between` do not belong to it.
fn bounds(rest: &[Word], is_whole: bool) -> Result<Vec<(&'static str, Value)>, String> {
    let value = |text: &String, by: i64| -> Result<Value, String> {
        if by == 0 {
            return number(text).ok_or_else(|| format!("`{text}` is no number"));
        }
        let whole: Option<i64> = text.parse().ok().filter(|_| is_whole);
        let whole = whole.ok_or_else(|| format!("`{text}` itself does not belong to it, which bounds here do"))?;
        Ok((whole + by).into())
    };
    Ok(match rest {
        [Word::Plain(is), Word::Plain(number)] if is == "=" => {
            vec![("min", value(number, 0)?), ("max", value(number, 0)?)]
        }
        [Word::Plain(than), Word::Plain(number)] if than == ">=" => vec![("min", value(number, 0)?)],
        [Word::Plain(than), Word::Plain(number)] if than == "<=" => vec![("max", value(number, 0)?)],
        [Word::Plain(than), Word::Plain(number)] if than == ">" => vec![("min", value(number, 1)?)],
        [Word::Plain(than), Word::Plain(number)] if than == "<" => vec![("max", value(number, -1)?)],
        [Word::Plain(between), Word::Plain(low), Word::Plain(and), Word::Plain(high)]
            if between == "between" && and == "and" =>
        {
            vec![("min", value(low, 1)?), ("max", value(high, -1)?)]
        }
        _ => return Err("its expression is not one of `=`, `>`, `>=`, `<`, `<=` and `between`".to_owned()),
    })
}

/// What `ColumnValues` says.
fn values(column: &str, rest: &[Word]) -> Result<WrittenCheck, String> {
    let named = |values: &[String]| texts(values.iter().map(String::as_str));
    Ok(match rest {
        [Word::Plain(word), Word::List(list)] if word == "in" => {
            WrittenCheck::new("", "accepted", map([("column", column.into()), ("values", named(list))]))
        }
        [Word::Plain(word), Word::Quoted(regex)] if word == "matches" => {
            // DQDL means the whole text.
            let whole = format!("^(?:{regex})$");
            WrittenCheck::new("", "pattern", map([("column", column.into()), ("regex", whole.into())]))
        }
        // Columns of the lake may be of any number, so a bound that does not belong to it is a condition.
        [Word::Plain(than), Word::Plain(bound)] if (than == ">" || than == "<") && number(bound).is_some() => {
            WrittenCheck::new("", "holds", format!("{} {than} {bound}", crate::column::identifier(column)).into())
        }
        [Word::Plain(between), Word::Plain(low), Word::Plain(and), Word::Plain(high)]
            if between == "between" && and == "and" && number(low).is_some() && number(high).is_some() =>
        {
            let column = crate::column::identifier(column);
            WrittenCheck::new("", "holds", format!("{column} > {low} and {column} < {high}").into())
        }
        rest => {
            let mut bounds = bounds(rest, false)?;
            bounds.insert(0, ("column", column.into()));
            let arguments = bounds.into_iter().map(|(key, value)| (key.into(), value)).collect();
            WrittenCheck::new("", "range", Value::Mapping(arguments))
        }
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn rules_become_checks_and_what_does_not_is_named() {
        let rules = r#"
            # The fleet's rules.
            Rules = [
                IsComplete "id", Completeness "fuel_level" > 0.95, IsUnique "message_id",
                ColumnValues "event_type" in ["trip_start", "trip_end"] with threshold > 0.9,
                ColumnValues "fuel_level" between -1 and 101, ColumnValues "speed" >= 0,
                ColumnValues "device_id" matches "SFT-[0-9]{7}", ColumnLength "vin" = 17, ColumnLength "name" > 2,
                RowCount between 0 and 1000, DataFreshness "timestamp_iso" <= 26 hours,
                DataFreshness "timestamp_iso" < 2 days,
                ReferentialIntegrity "id" "vehicles.id" = 1.0,
                (IsComplete "a") and (IsComplete "b"), IsPrimaryKey "id" "seq",
                ColumnCorrelation "a" "b" > 0.8, CustomSql "select count(*) from primary" = 0
            ]
        "#;
        let suite = suite(rules, "vehicle_event_report", "fleet@example.com").expect("a suite");
        assert_snapshot!(suite.text().expect("a text"));
    }

    #[test]
    fn a_ruleset_that_is_none_says_why() {
        let error = |text: &str| format!("{:#}", suite(text, "t", "a@example.com").expect_err(text));
        assert_snapshot!(error("IsComplete \"id\""), @"there are no rules; DQDL has them as `Rules = [ … ]`");
        assert_snapshot!(error("Rules = IsComplete"), @"`Rules` is not followed by `= [`");
        assert_snapshot!(
            error("Rules = [ IsComplete \"id ]"),
            @"the list of rules is not closed: `]` or a quotation mark is missing"
        );
        assert_snapshot!(error("Rules = [ ]"), @"the list of rules is empty");
    }
}
