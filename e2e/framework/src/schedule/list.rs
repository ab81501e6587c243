//! Several schedules in one run, as people write them: names separated by commas, or `all`.

use std::fmt;
use std::str::FromStr;

use super::Schedule;

/// Schedules, at least one and none of them twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedules(Vec<Schedule>);

impl Schedules {
    /// What people write for [`Schedules::all`].
    pub(crate) const ALL: &str = "all";

    /// Every schedule that needs neither a crash point nor a variant.
    pub fn all() -> Self {
        Self(Schedule::all())
    }

    /// The schedules in the order in which they were written.
    pub fn as_slice(&self) -> &[Schedule] {
        &self.0
    }

    /// The same, and the plain schedule before them if it is not among them.
    pub(crate) fn with_plain(&self) -> Self {
        let plain = if self.0.contains(&Schedule::Plain) { None } else { Some(Schedule::Plain) };
        Self(plain.into_iter().chain(self.0.iter().cloned()).collect())
    }

    /// The schedule, if there is only one.
    pub fn single(&self) -> Option<&Schedule> {
        if let [schedule] = self.0.as_slice() { Some(schedule) } else { None }
    }

    /// The schedules and what they do, for people.
    pub(crate) fn sentence(&self) -> String {
        let sentences: Vec<String> = self.0.iter().map(Schedule::sentence).collect();
        sentences.join("; ")
    }
}

impl Default for Schedules {
    fn default() -> Self {
        Self(vec![Schedule::Plain])
    }
}

impl fmt::Display for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Schedules {
    type Err = String;

    /// The target of a crash point may have commas, so it reaches to the end of the text.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == Self::ALL {
            return Ok(Self::all());
        }
        let (names, target) = text.split_at(text.find('@').unwrap_or(text.len()));
        let mut names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
        if let Some(last) = names.last_mut() {
            last.push_str(target);
        }
        let mut schedules = Vec::new();
        for name in names {
            let schedule: Schedule = name.parse()?;
            if schedules.contains(&schedule) {
                return Err(format!("the schedule {schedule} is named twice in `{text}`"));
            }
            schedules.push(schedule);
        }
        Ok(Self(schedules))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_separated_by_commas_and_a_target_may_have_commas_too() {
        let names = |text: &str| -> Vec<String> {
            text.parse::<Schedules>().expect(text).as_slice().iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("twice"), ["twice"]);
        assert_eq!(names("twice, restarted:2"), ["twice", "restarted:2"]);
        let target = "killed:dynamodb.TransactWriteItems:1@a,b";
        assert_eq!(names(target), [target]);
        assert_eq!(names(&format!("twice,{target}")), ["twice", target]);
    }

    #[test]
    fn the_plain_schedule_comes_first_unless_it_is_there() {
        for (text, expected) in
            [("twice,flaky", "plain,twice,flaky"), ("twice,plain", "twice,plain"), ("plain", "plain")]
        {
            assert_eq!(text.parse::<Schedules>().expect(text).with_plain().to_string(), expected);
        }
    }

    #[test]
    fn all_are_those_that_need_no_crash_point_and_are_read_as_they_are_shown() {
        let all: Schedules = "all".parse().expect("all");
        assert_eq!(all.to_string().parse(), Ok(all.clone()));
        assert!(all.as_slice().iter().any(Schedule::is_plain) && all.single().is_none());
    }

    #[test]
    fn what_is_empty_unknown_or_named_twice_is_refused() {
        for (text, says) in [
            ("", "there is no schedule ``"),
            ("twice,", "there is no schedule ``"),
            ("twice,al", "there is no schedule `al`"),
            ("twice,twice", "the schedule twice is named twice"),
        ] {
            let problem = text.parse::<Schedules>().expect_err(text);
            assert!(problem.contains(says), "{problem}");
        }
    }
}
