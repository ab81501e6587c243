//! The columns of a table, or the fields of a struct, which get their values object by object.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use fms_record::{Names, Row};
use jiff::tz::TimeZone;

use crate::column::Column;
use crate::json::members;
use crate::known::Known;
use crate::misfit::Misfit;
use crate::name;
use crate::rename::Renames;
use crate::rest::{Left, Members, RESERVED, REST};
use crate::shape::{Shape, original_of};
use crate::types::{Field, Type};

/// What an object can meet beside columns that take all of it.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The row does not fit. It is boxed, for every value is answered by what may be a problem.
    Misfit(Box<Misfit>),
    /// A column is missing for a value from which a type follows.
    Unknown,
    /// The columns hold as much as an array can.
    Full,
}

impl From<Misfit> for Problem {
    fn from(misfit: Misfit) -> Self {
        Self::Misfit(Box::new(misfit))
    }
}

impl Problem {
    /// The same problem, seen from the object in which the value is that of `name`.
    pub fn within(self, name: &str) -> Self {
        match self {
            Self::Misfit(misfit) => misfit.within(name).into(),
            other => other,
        }
    }
}

/// For each name of an object, the place of its column.
type Places = Arc<[Option<usize>]>;

/// Columns with the same number of rows.
#[derive(Debug)]
pub(crate) struct Columns {
    fields: Vec<Named>,
    /// The place of each field by its name.
    index: Arc<HashMap<String, usize>>,
    rows: usize,
    /// For each name of an object, the place of its column; `None` if there is none.
    known: Known<Places>,
    /// The fields that have other names as columns.
    renames: Renames,
    /// The same of the last row, by what stands for its names.
    last: Option<(Names, Places)>,
    /// Whether values without a column are left over instead of being unknown.
    keeps_rest: bool,
}

#[derive(Debug)]
struct Named {
    name: String,
    column: Column,
    /// For a time, the place of the column that keeps texts which say more than the instant.
    original: Option<usize>,
}

impl Columns {
    /// Columns of these names and types, without rows. If they `keep_rest`, values without a column are left over
    /// instead of being unknown.
    pub fn new(fields: &[Field], keeps_rest: bool) -> Self {
        let index: HashMap<String, usize> =
            fields.iter().enumerate().map(|(place, field)| (field.name.clone(), place)).collect();
        let original = |field: &Field| {
            let place = index.get(&original_of(&field.name)).copied();
            let is_pair =
                |place: &usize| field.data_type == Type::Timestamp && fields[*place].data_type == Type::String;
            place.filter(is_pair)
        };
        let named = |field: &Field| Named {
            name: field.name.clone(),
            column: Column::new(&field.data_type, keeps_rest),
            original: original(field),
        };
        let fields = fields.iter().map(named).collect();
        Self {
            fields,
            index: Arc::new(index),
            rows: 0,
            known: Known::default(),
            renames: Renames::default(),
            last: None,
            keeps_rest,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes all rows out and leaves the columns empty.
    pub fn take(&mut self) -> Self {
        let empty = |field: &Named| Named {
            name: field.name.clone(),
            column: Column::new(&field.column.data_type, self.keeps_rest),
            original: field.original,
        };
        let fields = self.fields.iter().map(empty).collect();
        let empty = Self {
            fields,
            index: Arc::clone(&self.index),
            rows: 0,
            known: self.known.clone(),
            renames: Renames::default(),
            last: self.last.clone(),
            keeps_rest: self.keeps_rest,
        };
        std::mem::replace(self, empty)
    }

    /// Adds the fields that have other names as columns, since the rows were taken out last. `within` is the column in
    /// which these are: empty, or with a dot at its end.
    pub fn add_renames(&self, within: &str, all: &mut Renames) {
        all.add_within(within, &self.renames);
        for Named { name, column, .. } in &self.fields {
            column.add_renames(&format!("{within}{name}"), all);
        }
    }

    /// The columns in their order.
    pub fn into_columns(self) -> impl Iterator<Item = Column> {
        self.fields.into_iter().map(|field| field.column)
    }

    fn get(&self, name: &str) -> Option<&Column> {
        self.index.get(name).map(|&place| &self.fields[place].column)
    }

    /// Appends a row of nulls.
    pub fn push_nulls(&mut self) {
        self.fields.iter_mut().for_each(|field| field.column.push_null());
        self.rows += 1;
    }

    /// Appends a row. What is left of it goes into the column [`REST`], and whether there was anything is given. After
    /// a problem, [`Self::truncate`] has to be called.
    pub fn push_row(&mut self, row: &Row<'_>, zone: &TimeZone) -> Result<bool, Problem> {
        let places = self.places_of_row(row)?;
        let fields = OnceCell::new();
        let name = |at: usize| fields.get_or_init(|| row.fields())[at].0.clone();
        let rest = self.push_values(&places, row.values(), name, zone)?;
        if let Some(rest) = &rest {
            let &place = self.index.get(REST).ok_or(Problem::Unknown)?;
            self.push_at(place, &serde_json::Value::from(rest.as_str()).to_string(), zone)?;
        }
        self.end_row();
        Ok(rest.is_some())
    }

    /// Appends an object, given as JSON text, and gives what is left of it. After a problem, [`Self::truncate`] has to
    /// be called.
    pub fn push_object(&mut self, object: &str, zone: &TimeZone) -> Result<Option<String>, Problem> {
        let members = members(object).map_err(Misfit::from)?;
        let places = self.places(&members, &[])?;
        let values = members.iter().map(|(_, value)| *value);
        let left = self.push_values(&places, values, |at| members[at].0.clone(), zone)?;
        self.end_row();
        Ok(left)
    }

    /// Appends the values of an object to the columns at these places. `name` gives the name of the value at a place of
    /// the object.
    fn push_values<'v>(
        &mut self,
        places: &[Option<usize>],
        values: impl Iterator<Item = &'v str>,
        name: impl Fn(usize) -> Cow<'v, str>,
        zone: &TimeZone,
    ) -> Result<Option<String>, Problem> {
        let mut left = Members::default();
        for (at, (place, value)) in places.iter().zip(values).enumerate() {
            match *place {
                Some(place) => {
                    if let Some(part) = self.push_at(place, value, zone)? {
                        left.add(&name(at), &part);
                    }
                }
                None => match Shape::of(value, zone).map_err(|misfit| misfit.within(&name(at)))? {
                    // As in a column, a null is as good as no field.
                    _ if self.keeps_rest && value == "null" => {}
                    _ if self.keeps_rest => left.add(&name(at), value),
                    Shape::Nothing => {}
                    _ => return Err(Problem::Unknown),
                },
            }
        }
        Ok(left.finish())
    }

    /// Completes a row: the columns that got no value get a null.
    fn end_row(&mut self) {
        for field in self.fields.iter_mut().filter(|field| field.column.len() == self.rows) {
            field.column.push_null();
        }
        self.rows += 1;
    }

    /// Appends a value to the column at a place. Gives what is left of it.
    fn push_at(&mut self, place: usize, value: &str, zone: &TimeZone) -> Result<Option<String>, Problem> {
        let rows = self.rows;
        let Named { name, column, original } = &mut self.fields[place];
        if column.len() > rows {
            return Err(Misfit::name_twice(name).into());
        }
        let left = column.push(value, zone).map_err(|problem| problem.within(name))?;
        match (left, *original) {
            (Left::Nothing, _) => Ok(None),
            (Left::Part(part), _) => Ok(Some(part)),
            (Left::Original, Some(original)) => self.push_at(original, value, zone),
            (Left::Original, None) if self.keeps_rest => Ok(Some(value.to_owned())),
            (Left::Original, None) => Err(Problem::Unknown),
        }
    }

    /// The places of the columns for a row. Most rows have the names of the one before.
    fn places_of_row(&mut self, row: &Row<'_>) -> Result<Places, Misfit> {
        let names = row.names();
        if let Some((_, places)) = self.last.as_ref().filter(|(last, _)| Some(*last) == names) {
            return Ok(Arc::clone(places));
        }
        let places = self.places(&row.fields(), &RESERVED)?;
        self.last = names.map(|names| (names, Arc::clone(&places)));
        Ok(places)
    }

    /// The places of the columns for an object with these names.
    fn places(&mut self, members: &[(Cow<'_, str>, &str)], reserved: &[&str]) -> Result<Places, Misfit> {
        if let Some(places) = self.known.find(members) {
            return Ok(Arc::clone(places));
        }
        let names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
        let columns = name::columns(&names, reserved).map_err(|twice| Misfit::name_twice(&twice))?;
        self.renames.note(names.iter().copied().zip(columns.iter().map(|column| &**column)), reserved);
        let places: Places = columns.iter().map(|name| self.index.get(&**name).copied()).collect();
        self.known.keep(members, Arc::clone(&places));
        Ok(places)
    }

    /// Takes back all rows from the row `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.fields.iter_mut().for_each(|field| field.column.truncate(rows));
    }

    /// The order of the rows by these columns, and by their own order where those are equal. `None` if they are in
    /// order already.
    pub fn order(&self, by: &[&str]) -> Option<Vec<u32>> {
        let columns: Vec<&Column> = by.iter().filter_map(|name| self.get(name)).collect();
        let compare = |a: usize, b: usize| {
            columns.iter().map(|column| column.compare(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        if (1..self.rows).all(|row| compare(row - 1, row).is_le()) {
            return None;
        }
        let mut order: Vec<u32> = (0..u32::try_from(self.rows).unwrap_or(u32::MAX)).collect();
        order.sort_by(|&a, &b| compare(a as usize, b as usize));
        Some(order)
    }
}
