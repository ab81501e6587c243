//! Models are built in their order: of each one, the days that have to be, several at a time.

mod partition;

use std::collections::{BTreeMap, BTreeSet};

use fms_lake::TimeZone;
use fms_query::{Lake, Size};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::build::Refused;
use crate::catalog::{Built, Catalog};
use crate::inputs::Version;
use crate::lineage::{self, Events};
use crate::model::{Model, Models};
use crate::plan::{Action, Day, Noted, Scope, named, plan};
use crate::sources::Source;

/// How models are built.
pub(crate) struct Work<'w> {
    pub models: &'w Models,
    pub selected: BTreeSet<&'w str>,
    pub lake: &'w Lake,
    pub catalog: &'w dyn Catalog,
    pub scope: Scope,
    /// How many partitions are built at a time.
    pub at_once: usize,
    /// How much memory all of them may use together before they write to temporary files.
    pub memory: Option<Size>,
    /// The zone of the lake's days and hours, and the time of now: what is said of freshness depends on them.
    pub zone: TimeZone,
    pub now: Timestamp,
    /// Who is told what is read and written.
    pub events: Option<Events>,
}

/// What became of all models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum {
    pub built: usize,
    /// Of those that were built, the ones whose rows are those of before.
    pub unchanged: usize,
    pub kept: usize,
    pub held: usize,
    /// Those whose rows do not pass the checks of their model.
    pub refused: usize,
    /// Those that could not be built for a reason that may pass.
    pub failed: usize,
    /// Those that were not built, because one that they read could not be.
    pub skipped: usize,
}

impl Work<'_> {
    /// Says what `apply` would do.
    pub async fn plan(&self, say: &dyn Fn(String)) -> anyhow::Result<()> {
        let mut sources = BTreeMap::new();
        for model in self.needed() {
            self.load(model, &mut sources, say).await?;
            let built = self.catalog.built(model).await?;
            let mut table = Source::of_model(model, &built);
            if self.selected.contains(model.name.as_str()) {
                let days = self.days(model, &sources, &built);
                say(model.name.clone());
                let kept = days.iter().filter(|day| day.action == Action::Keep).count();
                for day in &days {
                    let size = || {
                        let size =
                            |(name, partitions)| sources.get(name).map_or(0, |source: &Source| source.size(partitions));
                        Size::from(day.inputs.0.iter().map(size).sum::<u64>())
                    };
                    match &day.action {
                        Action::Build(why) => say(format!("  {}  build: {why} ({} of the lake)", day.date, size())),
                        Action::Perhaps(changes) => say(format!("  {}  perhaps: {}", day.date, named(changes))),
                        Action::Hold(gone) => say(format!("  {}  {}", day.date, held(gone))),
                        Action::Keep => continue,
                    }
                    if !matches!(day.action, Action::Hold(_)) {
                        table.versions.insert(day.date.to_string(), Version::not_yet());
                    }
                }
                say(format!("  {kept} days are as they should be"));
            }
            sources.insert(model.name.clone(), table);
        }
        Ok(())
    }

    /// Builds what has to be. What can be built is, if something else cannot.
    pub async fn apply(&self, say: &dyn Fn(String)) -> anyhow::Result<Sum> {
        let (mut sources, mut sum) = (BTreeMap::new(), Sum::default());
        // The days that could not be built, by their models.
        let mut broken: BTreeMap<&str, BTreeSet<Date>> = BTreeMap::new();
        for model in self.needed() {
            let name = model.name.as_str();
            if !self.selected.contains(name) {
                sources.insert(model.name.clone(), Source::of_model(model, &self.catalog.built(model).await?));
                continue;
            }
            self.load(model, &mut sources, say).await?;
            let mut built = self.catalog.built(model).await?;
            let days = self.days(model, &sources, &built);
            let mut building = Vec::new();
            for day in days {
                match &day.action {
                    Action::Build(_) => match reads_broken(model, day.date, &broken) {
                        Some((source, date)) => {
                            say(format!(
                                "{name} {}: it is not built, because `{source}` {date} could not be",
                                day.date
                            ));
                            broken.entry(name).or_default().insert(day.date);
                            sum.skipped += 1;
                        }
                        None => building.push(day),
                    },
                    Action::Hold(gone) => {
                        sum.held += 1;
                        say(format!("{name} {}: {}", day.date, held(gone)));
                    }
                    // Everything that it reads is built.
                    Action::Keep | Action::Perhaps(_) => sum.kept += 1,
                }
            }
            let begun = match &self.events {
                Some(events) if !building.is_empty() => Some(events.begin(model).await?),
                _ => None,
            };
            if !building.is_empty() {
                self.catalog.prepare(model).await?;
            }
            let mut told = lineage::Built::default();
            let work = building.into_iter().map(|day| {
                let (before, sources) = (built.get(&day.date).cloned(), &sources);
                async move {
                    let Action::Build(why) = &day.action else { return (day.date, Ok(None)) };
                    let (date, why) = (day.date, why.to_string());
                    (date, self.build(model, day, sources, before).await.map(|done| Some((why, done))))
                }
            });
            let work: Vec<_> = work.collect();
            let mut done = stream::iter(work).buffered(self.at_once);
            while let Some((date, result)) = done.next().await {
                match result {
                    Ok(Some((why, (partition, is_same)))) => {
                        let same = if is_same { ", as before" } else { "" };
                        say(format!("{name} {date}: {} rows{same}; {why}", partition.rows));
                        told.rows += partition.rows;
                        told.files += 1;
                        sum.built += 1;
                        sum.unchanged += usize::from(is_same);
                        built.insert(date, partition);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let failure = format!("{name} {date}: {error:#}");
                        say(failure.clone());
                        told.failure.get_or_insert(failure);
                        if error.is::<Refused>() {
                            sum.refused += 1;
                        } else {
                            sum.failed += 1;
                        }
                        broken.entry(name).or_default().insert(date);
                    }
                }
            }
            drop(done);
            if let (Some(events), Some(begun)) = (&self.events, &begun) {
                events.end(begun, told)?;
            }
            sources.insert(model.name.clone(), Source::of_model(model, &built));
        }
        Ok(sum)
    }

    /// The selected models, and those that they read, in the order in which they are built.
    fn needed(&self) -> impl Iterator<Item = &Model> {
        let is_read = |name: &str| self.models.named(&self.selected).any(|model| model.sources.contains_key(name));
        self.models.iter().filter(move |model| self.selected.contains(model.name.as_str()) || is_read(&model.name))
    }

    /// Looks up those tables of the lake that a model reads and no other one has read before.
    async fn load(
        &self,
        model: &Model,
        sources: &mut BTreeMap<String, Source>,
        say: &dyn Fn(String),
    ) -> anyhow::Result<()> {
        if !self.selected.contains(model.name.as_str()) {
            return Ok(());
        }
        for (name, reads) in &model.sources {
            if !reads.is_model && !sources.contains_key(name) {
                let source = Source::of_lake(self.lake, name, self.models, self.scope).await?;
                if !source.is_there() {
                    say(format!("warning: the lake has no table `{name}`, which is read as one without rows"));
                }
                sources.insert(name.clone(), source);
            }
            let texts = sources.get(name).map(|source| source.texts(reads)).unwrap_or_default();
            if !texts.is_empty() {
                say(format!(
                    "warning: `{name}` has texts in {}, which `{}` reads as another type; a text that is not of it is null",
                    texts.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", "),
                    model.name,
                ));
            }
            // Of a range of days, the newest partition may not be known.
            let Some(limit) = reads.freshness.filter(|_| self.scope.to.is_none()) else { continue };
            let age = sources.get(name).and_then(|source| source.age(self.now, &self.zone));
            if let Some(age) = age.filter(|age| *age > limit) {
                say(format!(
                    "warning: `{}` reads `{name}`, whose newest hour ended {age:#} ago, and not within {limit:#}",
                    model.name
                ));
            }
        }
        Ok(())
    }

    fn days(&self, model: &Model, sources: &BTreeMap<String, Source>, built: &BTreeMap<Date, Built>) -> Vec<Day> {
        let versions =
            model.sources.keys().filter_map(|name| Some((name.clone(), sources.get(name)?.versions.clone())));
        let noted: BTreeMap<Date, Noted> = built.iter().map(|(date, built)| (*date, built.noted.clone())).collect();
        plan(model, &versions.collect(), &noted, self.scope)
    }

    /// Builds a partition, and sends readers there. Gives it, and whether it has the rows of before.
    async fn build(
        &self,
        model: &Model,
        day: Day,
        sources: &BTreeMap<String, Source>,
        before: Option<Built>,
    ) -> anyhow::Result<(Built, bool)> {
        let Day { date, inputs, .. } = day;
        let output = self.output(model, date, &inputs, sources).await?;
        let noted = Noted { model: model.digest(), inputs };
        // What has been found to be the same stays where it is, so that nothing that reads it has to be built again.
        let same = before.filter(|before| before.content == output.content);
        let is_same = same.is_some();
        let folder = match same {
            Some(before) => before.folder,
            None => self.catalog.store(model, date, &output).await?,
        };
        let built = Built { folder, content: output.content, rows: output.rows, noted };
        self.catalog.publish(model, date, &built).await?;
        Ok((built, is_same))
    }
}

/// A day that could not be built, of those that the partition of a day reads.
fn reads_broken<'m>(model: &'m Model, date: Date, broken: &BTreeMap<&str, BTreeSet<Date>>) -> Option<(&'m str, Date)> {
    model.sources.iter().find_map(|(source, reads)| {
        let (first, last) = reads.window(date);
        let date = broken.get(source.as_str())?.range(first..=last).next()?;
        Some((source.as_str(), *date))
    })
}

fn held(gone: &[crate::inputs::Change]) -> String {
    format!(
        "it stays as it is, for {}, so that fewer rows would be made; `--despite-gone` builds it nevertheless",
        named(gone)
    )
}
