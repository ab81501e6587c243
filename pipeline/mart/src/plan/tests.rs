//! Exactly the days whose inputs have changed are built.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::inputs::Version;
use crate::model::Models;

/// A model that reads a table of the lake, within a window.
fn model(reads: &str, sql: &str) -> Model {
    let text = format!(
        "/*\ndescription = \"d\"\nowner = \"o\"\ngrain = \"g\"\nkeys = [\"id\"]\ncolumns = \"id bigint the vehicle\"\n\
         [sources.raw]\n{reads}\ncolumns = \"id bigint\"\n[[examples]]\nname = \"e\"\nexpect = \"id\"\n*/\n{sql}"
    );
    let models = Models::of([(PathBuf::from("m.sql"), text)]).expect("a model");
    models.get("m").expect("a model").clone()
}

fn day(number: i8) -> Date {
    Date::constant(2023, 1, number)
}

/// The hours of days of January with their versions.
fn raw(hours: &[(i8, i8, u64)]) -> BTreeMap<String, Partitions> {
    let hour = |(day, hour, version): &(i8, i8, u64)| {
        (format!("2023-01-{day:02}/{hour:02}"), Version::of_files([("a", *version, "e")]))
    };
    [("raw".to_owned(), hours.iter().map(hour).collect())].into()
}

/// What is noted when everything is built that has to be.
fn build(
    model: &Model,
    sources: &BTreeMap<String, Partitions>,
    built: &mut BTreeMap<Date, Noted>,
    scope: Scope,
) -> Vec<i8> {
    let mut days = Vec::new();
    for day in plan(model, sources, built, scope) {
        if let Action::Build(_) = day.action {
            days.push(day.date.day());
            built.insert(day.date, Noted { model: model.digest(), inputs: day.inputs });
        }
    }
    days
}

#[test]
fn a_late_file_causes_the_days_that_read_its_hour() {
    for (reads, expected) in
        [("", vec![3]), ("reads = \"1 day before\"", vec![3, 4]), ("reads = \"1 day after\"", vec![2, 3])]
    {
        let (model, mut built) = (model(reads, "select 1"), BTreeMap::new());
        let mut hours: Vec<(i8, i8, u64)> = (1..=5).flat_map(|day| (6..20).map(move |hour| (day, hour, 1))).collect();
        assert_eq!(build(&model, &raw(&hours), &mut built, Scope::default()), [1, 2, 3, 4, 5]);
        assert_eq!(build(&model, &raw(&hours), &mut built, Scope::default()), [0_i8; 0]);
        // An hour has one more file, or is a new one.
        hours[14 * 2 + 3].2 = 2;
        assert_eq!(build(&model, &raw(&hours), &mut built, Scope::default()), expected, "{reads}");
        hours.push((3, 23, 1));
        assert_eq!(build(&model, &raw(&hours), &mut built, Scope::default()), expected, "{reads}");
    }
}

#[test]
fn another_query_causes_all_days() {
    let (hours, mut built) = (raw(&[(1, 0, 1), (2, 0, 1)]), BTreeMap::new());
    build(&model("", "select 1"), &hours, &mut built, Scope::default());
    let days = plan(&model("", "select 2"), &hours, &built, Scope::default());
    assert!(days.iter().all(|day| day.action == Action::Build(Why::Model)), "{days:?}");
    let all = Scope { is_all: true, from: Some(day(2)), ..Scope::default() };
    let days = plan(&model("", "select 1"), &hours, &built, all);
    assert_eq!((days.len(), &days[0].action), (1, &Action::Build(Why::Asked)));
}

#[test]
fn what_has_expired_is_not_made_less_of() {
    let (model, mut built) = (model("", "select 1"), BTreeMap::new());
    build(&model, &raw(&[(1, 0, 1), (1, 1, 1), (2, 0, 1)]), &mut built, Scope::default());
    let action = |hours: &[(i8, i8, u64)], scope| plan(&model, &raw(hours), &built, scope)[0].action.clone();
    // An hour has gone: the day has its rows still.
    assert_eq!(action(&[(1, 1, 1), (2, 0, 1)], Scope::default()), Action::Keep);
    // The whole day has.
    assert_eq!(action(&[(2, 0, 1)], Scope::default()), Action::Keep);
    // A row of the hour that is left comes late.
    let held = action(&[(1, 1, 2), (2, 0, 1)], Scope::default());
    let Action::Hold(gone) = &held else { panic!("{held:?}") };
    assert_eq!(named(gone), "raw 2023-01-01/00 is gone");
    let despite = Scope { despite_gone: true, ..Scope::default() };
    assert!(matches!(action(&[(1, 1, 2), (2, 0, 1)], despite), Action::Build(Why::Inputs(_))));
    // Of nothing, nothing is made.
    assert_eq!(action(&[(2, 0, 1)], despite), Action::Keep);
    assert!(matches!(action(&[(2, 0, 1)], Scope { is_all: true, ..despite }), Action::Hold(_)));
}

#[test]
fn a_day_that_reads_what_is_not_built_yet_may_have_to_be() {
    let (model, mut built) = (model("", "select 1"), BTreeMap::new());
    let sources = raw(&[(1, 0, 1), (2, 0, 1)]);
    build(&model, &sources, &mut built, Scope::default());
    let mut pending = sources;
    pending.get_mut("raw").expect("the source").insert("2023-01-02/00".to_owned(), Version::not_yet());
    pending.get_mut("raw").expect("the source").insert("2023-01-03/00".to_owned(), Version::not_yet());
    let days = plan(&model, &pending, &built, Scope::default());
    assert_eq!(days[0].action, Action::Keep);
    assert!(matches!(days[1].action, Action::Perhaps(_)) && matches!(days[2].action, Action::Perhaps(_)), "{days:?}");
}

proptest! {
    /// Whatever happens to the hours, and however often it is built in between: at the end, every day was last built of
    /// the inputs of now.
    #[test]
    fn nothing_stays_behind(
        steps in prop::collection::vec(prop::collection::btree_map((1..6_i8, 0..4_i8), 1..4_u64, 0..5), 1..6),
        before in 0..3_u32,
        after in 0..3_u32,
    ) {
        let mut model = model("", "select 1");
        let reads = model.sources.get_mut("raw").expect("the source");
        (reads.before, reads.after) = (before, after);
        let (mut hours, mut built) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            hours.extend(step);
            let now: Vec<_> = hours.iter().map(|(&(day, hour), &version)| (day, hour, version)).collect();
            build(&model, &raw(&now), &mut built, Scope::default());
            let anew = &mut BTreeMap::new();
            build(&model, &raw(&now), anew, Scope::default());
            prop_assert_eq!(&*anew, &built);
        }
    }
}
