//! The columns of a table, or the fields of a struct, which get their values object by object.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::column::Column;
use crate::json::members;
use crate::misfit::Misfit;
use crate::name;
use crate::shape::{Shape, original_of};
use crate::types::{Field, Type};

/// What an object can meet beside columns that take all of it.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The row does not fit.
    Misfit(Misfit),
    /// A column is missing for a value from which a type follows.
    Unknown,
    /// The columns hold as much as an array can.
    Full,
}

impl From<Misfit> for Problem {
    fn from(misfit: Misfit) -> Self {
        Self::Misfit(misfit)
    }
}

impl Problem {
    /// The same problem, seen from the object in which the value is that of `name`.
    pub fn within(self, name: &str) -> Self {
        match self {
            Self::Misfit(misfit) => Self::Misfit(misfit.within(name)),
            other => other,
        }
    }
}

/// Columns with the same number of rows.
#[derive(Debug)]
pub(crate) struct Columns {
    fields: Vec<Named>,
    /// The place of each field by its name.
    index: Arc<HashMap<String, usize>>,
    rows: usize,
    /// The names of the last object. The next one mostly has the same in the same order.
    known: Vec<String>,
    /// For each of `known`, the place of its column; `None` if there is none.
    places: Vec<Option<usize>>,
}

#[derive(Debug)]
struct Named {
    name: String,
    column: Column,
    /// For a time, the place of the column that keeps texts which say more than the instant.
    original: Option<usize>,
}

impl Columns {
    /// Columns of these names and types, without rows.
    pub fn new(fields: &[Field]) -> Self {
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
            column: Column::new(&field.data_type),
            original: original(field),
        };
        let fields = fields.iter().map(named).collect();
        Self { fields, index: Arc::new(index), rows: 0, known: Vec::new(), places: Vec::new() }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes all rows out and leaves the columns empty.
    pub fn take(&mut self) -> Self {
        let empty = |field: &Named| Named {
            name: field.name.clone(),
            column: Column::new(&field.column.data_type),
            original: field.original,
        };
        let fields = self.fields.iter().map(empty).collect();
        let (known, places) = (self.known.clone(), self.places.clone());
        std::mem::replace(self, Self { fields, index: Arc::clone(&self.index), rows: 0, known, places })
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

    /// Appends an object, given as JSON text. After a problem, [`Self::truncate`] has to be called.
    pub fn push_object(&mut self, object: &str, zone: &TimeZone) -> Result<(), Problem> {
        self.push(&members(object).map_err(Misfit::from)?, &[], zone)
    }

    /// Appends an object, given as its names and the JSON texts of its values. `reserved` are names that no column has.
    /// After a problem, [`Self::truncate`] has to be called.
    pub fn push(
        &mut self,
        members: &[(Cow<'_, str>, &str)],
        reserved: &[&str],
        zone: &TimeZone,
    ) -> Result<(), Problem> {
        if !self.knows(members) {
            self.learn(members, reserved)?;
        }
        for (member, (name, value)) in members.iter().enumerate() {
            match self.places[member] {
                Some(place) => self.push_at(place, value, zone)?,
                None if Shape::of(value, zone).map_err(|misfit| misfit.within(name))? == Shape::Nothing => {}
                None => return Err(Problem::Unknown),
            }
        }
        for field in self.fields.iter_mut().filter(|field| field.column.len() == self.rows) {
            field.column.push_null();
        }
        self.rows += 1;
        Ok(())
    }

    fn push_at(&mut self, place: usize, value: &str, zone: &TimeZone) -> Result<(), Problem> {
        let rows = self.rows;
        let Named { name, column, original } = &mut self.fields[place];
        if column.len() > rows {
            return Err(Misfit::name_twice(name).into());
        }
        let says_more = column.push(value, zone).map_err(|problem| problem.within(name))?;
        match (says_more, *original) {
            (true, Some(original)) => self.push_at(original, value, zone),
            (true, None) => Err(Problem::Unknown),
            (false, _) => Ok(()),
        }
    }

    /// Whether an object has the names of the last one, in the same order.
    fn knows(&self, members: &[(Cow<'_, str>, &str)]) -> bool {
        self.known.len() == members.len() && self.known.iter().zip(members).all(|(known, (name, _))| known == name)
    }

    /// Finds the places of the columns for an object with these names.
    fn learn(&mut self, members: &[(Cow<'_, str>, &str)], reserved: &[&str]) -> Result<(), Misfit> {
        self.known.clear();
        let names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
        let columns = name::columns(&names, reserved).map_err(|twice| Misfit::name_twice(&twice))?;
        self.places = columns.iter().map(|name| self.index.get(&**name).copied()).collect();
        self.known.extend(names.into_iter().map(str::to_owned));
        Ok(())
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
