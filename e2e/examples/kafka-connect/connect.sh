#!/bin/sh
# Runs a standalone worker of Apache Kafka Connect with one sink. APACHE_KAFKA is a distribution of Apache Kafka, PLUGIN_FOLDER
# the folder with the sink. Both files of settings are made from the environment that the framework sets.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/worker.properties" <<EOF
bootstrap.servers=$KAFKA_BOOTSTRAP_SERVERS
plugin.path=$PLUGIN_FOLDER
listeners=http://127.0.0.1:0
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename=$folder/offsets
offset.flush.interval.ms=500
consumer.auto.offset.reset=earliest
consumer.session.timeout.ms=${SESSION_TIMEOUT_MS:-30000}
EOF
cat > "$folder/sink.properties" <<EOF
name=${PREFIX}archive
connector.class=ArchiveSink
topics=${PREFIX}orders
bucket=${PREFIX}archive
names=${NAMES:-offset}
EOF
# A virtual machine that SIGTERM has ended in good order has status 143. The signal reaches it without this script's help.
trap : TERM
java ${JAVA_OPTIONS:--Xmx256m} -Dorg.apache.logging.log4j.level=INFO -cp "$APACHE_KAFKA/libs/*" \
    org.apache.kafka.connect.cli.ConnectStandalone "$folder/worker.properties" "$folder/sink.properties" || status=$?
[ "${status:-0}" -eq 143 ] || exit "${status:-0}"
