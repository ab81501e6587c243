//! The operations on databases and tables.

use fms_aws::Error;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Glue, missing};
use crate::model::{Database, Table, TableInput};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DatabaseAnswer {
    database: Database,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableAnswer {
    table: Table,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TablesAnswer {
    #[serde(default)]
    table_list: Vec<Table>,
    next_token: Option<String>,
}

impl Glue {
    /// A database; `None` if there is none of this name.
    pub async fn database(&self, name: &str) -> Result<Option<Database>, Error> {
        let answer = self.call::<DatabaseAnswer>("GetDatabase", name, &json!({ "Name": name })).await;
        found(answer).map(|answer| answer.map(|answer| answer.database))
    }

    /// Creates a database.
    pub async fn create_database(&self, database: &Database) -> Result<(), Error> {
        let body = json!({ "DatabaseInput": database });
        self.call::<Value>("CreateDatabase", &database.name, &body).await.map(drop)
    }

    /// A table; `None` if there is none of this name, or no such database.
    pub async fn table(&self, database: &str, name: &str) -> Result<Option<Table>, Error> {
        let body = json!({ "DatabaseName": database, "Name": name });
        let answer = self.call::<TableAnswer>("GetTable", &target(database, name), &body).await;
        found(answer).map(|answer| answer.map(|answer| answer.table))
    }

    /// All tables of a database.
    pub async fn tables(&self, database: &str) -> Result<Vec<Table>, Error> {
        let mut tables = Vec::new();
        let mut body = json!({ "DatabaseName": database });
        loop {
            let page: TablesAnswer = self.call("GetTables", database, &body).await?;
            tables.extend(page.table_list);
            match page.next_token {
                Some(token) if !token.is_empty() => body["NextToken"] = token.into(),
                _ => return Ok(tables),
            }
        }
    }

    /// Creates a table. If the answer to the first attempt was lost, the next one finds that the table
    /// [exists](crate::already_exists).
    pub async fn create_table(&self, database: &str, table: &TableInput) -> Result<(), Error> {
        let body = json!({ "DatabaseName": database, "TableInput": table });
        self.call::<Value>("CreateTable", &target(database, &table.name), &body).await.map(drop)
    }

    /// Replaces a table, if it still has the version `version_id`; otherwise the error is that it was
    /// [modified meanwhile](crate::modified_meanwhile), which a lost answer can also be the reason of. Without a
    /// version, the table is replaced in any case. The version before is not archived, as Glue keeps a limited number.
    pub async fn update_table(
        &self,
        database: &str,
        table: &TableInput,
        version_id: Option<&str>,
    ) -> Result<(), Error> {
        let mut body = json!({ "DatabaseName": database, "TableInput": table, "SkipArchive": true });
        if let Some(version) = version_id {
            body["VersionId"] = version.into();
        }
        self.call::<Value>("UpdateTable", &target(database, &table.name), &body).await.map(drop)
    }

    /// Deletes a table with its partitions. Gives whether it existed.
    pub async fn delete_table(&self, database: &str, name: &str) -> Result<bool, Error> {
        let body = json!({ "DatabaseName": database, "Name": name });
        let answer = self.call::<Value>("DeleteTable", &target(database, name), &body).await;
        found(answer).map(|answer| answer.is_some())
    }
}

/// A table as the log names it.
pub(crate) fn target(database: &str, table: &str) -> String {
    format!("{database}.{table}")
}

fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
