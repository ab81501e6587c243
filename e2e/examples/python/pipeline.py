"""Orders from Kafka into DynamoDB and S3: the worked example of docs/testing-your-pipeline.md.

Every order becomes an item of the table and an object of the archive. What is no order goes to the dead-letter topic. An offset is
committed when all that comes before it is stored, so an order is never lost; keys and object names are functions of the order, so one
that is stored twice is the same item and the same object.
"""

import json
import os
import signal
import sys
from decimal import Decimal

import boto3
from confluent_kafka import Consumer, KafkaError, Producer

PREFIX = os.environ.get("ORDERS_PREFIX", "")
TOPIC, DEAD_LETTERS = PREFIX + "orders", PREFIX + "orders-dead-letters"
BUCKET = PREFIX + "order-archive"

stopping = False


def stop(_signal, _frame):
    global stopping
    stopping = True


def main():
    signal.signal(signal.SIGTERM, stop)
    # Endpoints, region and credentials come from the environment, as in production.
    table = boto3.resource("dynamodb").Table(PREFIX + "orders")
    s3 = boto3.client("s3")
    kafka = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]}
    producer = Producer(kafka)
    consumer = Consumer(
        kafka
        | {
            "group.id": PREFIX + "order-sink",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": int(os.environ.get("SESSION_TIMEOUT_MS", "45000")),
            "heartbeat.interval.ms": 300,
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.subscribe([TOPIC])
    while not stopping:
        message = consumer.poll(0.05)
        if message is None:
            continue
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                print(f"cannot read {TOPIC}: {message.error()}", file=sys.stderr)
            continue
        try:
            order = json.loads(message.value(), parse_float=Decimal)
            table.put_item(Item={"order_id": order["order_id"], "total": order["total"], "state": order["state"]})
            name = f"day={order['at'][:10]}/{message.partition()}-{message.offset():010}.json"
            s3.put_object(Bucket=BUCKET, Key=name, Body=message.value() + b"\n")
        except (ValueError, KeyError, TypeError) as error:
            print(f"no order at {TOPIC}-{message.partition()}@{message.offset()}: {error!r}", file=sys.stderr)
            headers = [("reason", type(error).__name__.encode())]
            producer.produce(DEAD_LETTERS, key=message.key(), value=message.value(), headers=headers)
            producer.flush()
        consumer.commit(message, asynchronous=False)
    consumer.close()


main()
