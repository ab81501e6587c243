//! The list of all mutations.

use super::{Change, ChangeCall, Mutation, Needs, catalog, items, lines, objects, queues, records};

/// The calls that put items into tables.
const PUTS: &[&str] = &["PutItem", "BatchWriteItem", "TransactWriteItems"];

/// Those that create partitions.
const CREATE_PARTITIONS: &[&str] = &["BatchCreatePartition", "CreatePartition"];

/// Those that write a table into the catalog.
const WRITE_TABLE: &[&str] = &["CreateTable", "UpdateTable"];

const fn mutation(name: &'static str, defect: &'static str, change: Change) -> Mutation {
    Mutation { name, defect, change, shows_always: false, needs: Needs::Nothing }
}

/// A mutation of calls to a service.
const fn call(
    name: &'static str,
    defect: &'static str,
    (service, operations): (&'static str, &'static [&'static str]),
    change: ChangeCall,
) -> Mutation {
    mutation(name, defect, Change::Call { service, operations, change })
}

const fn object(name: &'static str, defect: &'static str, change: ChangeCall) -> Mutation {
    call(name, defect, ("s3", &["PutObject"]), change)
}

const fn item(name: &'static str, defect: &'static str, change: ChangeCall) -> Mutation {
    call(name, defect, ("dynamodb", PUTS), change)
}

impl Mutation {
    /// The same, shown by every call that it concerns.
    const fn always(self) -> Self {
        Self { shows_always: true, ..self }
    }

    /// The same, in runs in which this happens.
    const fn needing(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }
}

/// All mutations, in the order in which people are told of them.
pub(crate) static ALL: [Mutation; 60] = [
    object("s3-first-row-lost", "leaves out the first row of an object", |sent, _| {
        lines::in_lines(sent, lines::lose_first)
    }),
    object("s3-last-row-lost", "leaves out the last row of an object", |sent, _| {
        lines::in_lines(sent, lines::lose_last)
    }),
    object("s3-row-twice", "writes the last row of an object twice", |sent, _| {
        lines::in_lines(sent, lines::repeat_last)
    }),
    object("s3-row-cut", "cuts the last row of an object in the middle", |sent, _| {
        lines::in_lines(sent, lines::cut_last)
    }),
    object("s3-rows-joined", "leaves out the line end between two rows", |sent, _| {
        lines::in_lines(sent, lines::join_first)
    }),
    object("s3-rows-reversed", "writes the rows of an object in the opposite order", |sent, _| {
        lines::in_lines(sent, lines::reverse)
    }),
    object("s3-text-mangled", "replaces a character of a row that is not ASCII", |sent, _| {
        lines::in_lines(sent, lines::mangle)
    }),
    object("s3-field-lost", "leaves out a field of a row", |sent, _| lines::in_a_row(sent, lines::lose_field)),
    object("s3-null-lost", "leaves out a field of a row because it is null", |sent, _| {
        lines::in_a_row(sent, lines::lose_null)
    }),
    object("s3-empty-as-null", "writes an empty text of a row as null", |sent, _| {
        lines::in_a_row(sent, lines::empty_as_null)
    }),
    object("s3-numbers-swapped", "swaps two numbers of a row", |sent, _| lines::in_a_row(sent, lines::swap)),
    object("s3-number-as-text", "writes a number of a row as a string", |sent, _| {
        lines::in_a_row(sent, lines::number_as_text)
    }),
    object("s3-number-as-double", "writes a number of a row as a double, which changes its digits", |sent, _| {
        lines::in_a_row(sent, lines::number_as_double)
    }),
    object("s3-boolean-as-number", "writes a truth value of a row as 0 or 1", |sent, _| {
        lines::in_a_row(sent, lines::boolean_as_number)
    }),
    object("s3-subseconds-lost", "cuts a time of a row to whole seconds", |sent, _| {
        lines::in_a_row(sent, lines::lose_subseconds)
    }),
    object("s3-object-lost", "does not store an object and goes on as if it had", |sent, _| objects::lose(sent)),
    object("s3-object-cut", "stores the first half of an object", |sent, _| objects::cut(sent)),
    object("s3-object-renamed", "stores an object under another name", |sent, _| objects::rename(sent)),
    object("s3-object-twice", "stores an object under two names", |sent, _| objects::repeat(sent)),
    object("s3-wrong-hour", "stores an object in the folder of the next hour", |sent, _| {
        objects::move_by_an_hour(sent)
    }),
    object("s3-early", "does not wait until an object is stored", |sent, _| objects::store_later(sent)).always(),
    object("parquet-lost", "does not store a Parquet file and goes on as if it had", |sent, _| {
        objects::if_parquet(sent, objects::lose)
    }),
    object("parquet-cut", "stores the first half of a Parquet file", |sent, _| objects::if_parquet(sent, objects::cut)),
    object("parquet-twice", "stores a Parquet file under two names", |sent, _| {
        objects::if_parquet(sent, objects::repeat)
    }),
    object("parquet-wrong-hour", "stores a Parquet file in the folder of the next hour", |sent, _| {
        objects::if_parquet(sent, objects::move_by_an_hour)
    }),
    item("dynamodb-item-lost", "does not send the last item of a batch again that was not processed", |sent, _| {
        items::lose_last(sent)
    }),
    item("dynamodb-write-lost", "does not store what is in one request and goes on as if it had", |sent, _| {
        items::lose_all(sent)
    }),
    item("dynamodb-item-twice", "stores an item under two sort keys", items::repeat),
    item("dynamodb-sort-key-cut", "cuts sort keys, so that items overwrite each other", items::cut_sort_keys).always(),
    item("dynamodb-attribute-lost", "leaves out an attribute of an item", |sent, context| {
        items::in_an_item(sent, context, items::lose_attribute)
    }),
    item("dynamodb-empty-lost", "leaves out an attribute because it is null or empty", |sent, context| {
        items::in_an_item(sent, context, items::lose_empty)
    }),
    item("dynamodb-attributes-swapped", "swaps two attributes of an item", |sent, context| {
        items::in_an_item(sent, context, items::swap)
    }),
    item("dynamodb-number-as-text", "writes a number of an item as a string", |sent, context| {
        items::in_an_item(sent, context, items::number_as_text)
    }),
    item("dynamodb-number-as-double", "writes a number of an item as a double, which loses digits", |sent, context| {
        items::in_an_item(sent, context, items::number_as_double)
    }),
    item("dynamodb-boolean-as-number", "writes a truth value of an item as 0 or 1", |sent, context| {
        items::in_an_item(sent, context, items::boolean_as_number)
    }),
    item("dynamodb-nested-as-text", "writes a list or a map of an item as a text", |sent, context| {
        items::in_an_item(sent, context, items::nested_as_text)
    }),
    item("dynamodb-subseconds-lost", "cuts a time of an item to whole seconds", |sent, context| {
        items::in_an_item(sent, context, items::lose_subseconds)
    }),
    item("dynamodb-text-mangled", "replaces a character of an item that is not ASCII", |sent, context| {
        items::in_an_item(sent, context, items::mangle)
    }),
    item("dynamodb-early", "does not wait until items are stored", |sent, _| items::store_later(sent)).always(),
    call(
        "sqs-message-lost",
        "does not send a message and goes on as if it had",
        ("sqs", &["SendMessage"]),
        |sent, _| queues::lose_message(sent),
    ),
    call("sqs-message-cut", "sends the first half of a message", ("sqs", &["SendMessage"]), |sent, _| {
        queues::cut_message(sent)
    }),
    call(
        "sqs-message-kept",
        "does not delete a message that it has processed",
        ("sqs", &["DeleteMessage"]),
        |sent, _| queues::keep_message(sent),
    ),
    mutation(
        "sqs-deleted-early",
        "deletes a message about an object before it has processed it",
        Change::Answer { service: "sqs", operations: &["ReceiveMessage"], change: queues::delete_at_once },
    )
    .always()
    .needing(Needs::KillAtStore),
    call("glue-partition-lost", "does not create a partition", ("glue", CREATE_PARTITIONS), |sent, _| {
        catalog::lose_partition(sent)
    }),
    call("glue-partition-elsewhere", "gives a partition a wrong location", ("glue", CREATE_PARTITIONS), |sent, _| {
        catalog::move_partition(sent)
    }),
    call(
        "glue-partition-columns-old",
        "does not give partitions the new columns of their table",
        ("glue", &["BatchUpdatePartition"]),
        |sent, _| catalog::keep_old_columns(sent),
    ),
    call("glue-table-elsewhere", "gives a table a wrong location", ("glue", WRITE_TABLE), |sent, _| {
        catalog::move_table(sent)
    }),
    call("glue-type-changed", "gives a column of integers the type `double`", ("glue", WRITE_TABLE), |sent, _| {
        catalog::change_type(sent)
    }),
    call("glue-column-lost", "leaves out the last column of a table", ("glue", WRITE_TABLE), |sent, _| {
        catalog::lose_column(sent)
    }),
    mutation("dead-letter-lost", "does not send a dead letter", Change::DeadLetters(records::lose)),
    mutation("dead-letter-cut", "cuts the value of a dead letter", Change::DeadLetters(records::cut_value)),
    mutation("dead-letter-empty", "sends a dead letter without its value", Change::DeadLetters(records::lose_value)),
    mutation("dead-letter-key-lost", "sends a dead letter without its key", Change::DeadLetters(records::lose_key)),
    mutation(
        "dead-letter-headers-lost",
        "sends a dead letter without headers",
        Change::DeadLetters(records::lose_headers),
    ),
    mutation(
        "dead-letter-header-lost",
        "leaves out the last header of a dead letter",
        Change::DeadLetters(records::lose_last_header),
    ),
    mutation("offset-not-committed", "does not commit the last record of a partition", Change::Commits(records::lower)),
    mutation("record-lost", "does not send a record to an output topic", Change::Records(records::lose)),
    mutation("record-cut", "cuts the value of a record of an output topic", Change::Records(records::cut_value)),
    mutation(
        "record-key-lost",
        "sends a record to an output topic without its key",
        Change::Records(records::lose_key),
    ),
    mutation(
        "record-headers-lost",
        "sends a record to an output topic without headers",
        Change::Records(records::lose_headers),
    ),
];

/// The list as a table in Markdown, as the page on mutations shows it.
pub(crate) fn markdown() -> String {
    use std::fmt::Write;

    let mut text = String::from("| mutation | a pipeline with this defect |\n| --- | --- |\n");
    for Mutation { name, defect, .. } in &ALL {
        let _ = writeln!(text, "| `{name}` | {defect} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::case::Settings;
    use crate::stack::{Queue, Table};

    /// Otherwise a mutation would be excused in every project.
    #[test]
    fn every_mutation_may_concern_a_case_that_has_everything() {
        let name = || "x".to_owned();
        let mut settings = Settings { groups: vec![name()], output_topics: vec![name()], ..Settings::default() };
        assert!(ALL.iter().any(|mutation| !mutation.requires(&settings).1));
        settings.dead_letters = vec![name()];
        settings.resources.buckets = vec![name()];
        settings.resources.databases = vec![name()];
        let queue = Queue { visibility_timeout: 1, dead_letters: None };
        settings.resources.queues = [(name(), queue)].into();
        settings.resources.tables =
            vec![Table { name: name(), partition_key: (name(), name()), sort_key: None, indexes: Vec::new() }];
        let excused = ALL.iter().filter(|mutation| !mutation.requires(&settings).1).map(|mutation| mutation.name);
        assert_eq!(excused.collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn every_name_is_there_once_and_the_page_lists_what_there_is() {
        let names: BTreeSet<&str> = ALL.iter().map(|mutation| mutation.name).collect();
        assert_eq!(names.len(), ALL.len());
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mutations.md");
        let page = fs::read_to_string(page).expect("the page on mutations");
        let list = markdown();
        assert!(
            page.contains(&list),
            "docs/mutations.md does not have this list, which `e2e mutate --list` prints:\n{list}"
        );
    }
}
