"""Makes messages out of the CANedge recordings: `canedge.py SOURCE_FOLDER FIXTURES_FOLDER`.

A vehicle/kinematic/report holds the rows of up to 60 consecutive seconds of `canedge_trips_1hz.csv.gz`, a
vehicle/status/report 6 rows of `canedge_tripC_obd2_7s.csv`. Values are the recording's own text; only three are
computed, in decimal arithmetic: speed (m/s to km/h), trip A's odometer (km to m), and trip A's accel_x, which is the
change of speed since the second before, because that box lay on its side and its X axis holds gravity. A cell that is
blank gives no field; a second without any GNSS frame gives no row. The envelope (ids, sequence, sending time) is made.
"""
import csv, gzip, hashlib, os, sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
FIX = {"0.0": "NONE", "2.0": "TWO_D", "3.0": "THREE_D"}
VEHICLES = {"A": 10001, "C": 10002}


def ulid(at, seed):
    """The ULID of a time; its random half comes from `seed`, so that every run gives the same."""
    n = int(at.timestamp() * 1000) << 80 | int.from_bytes(hashlib.sha256(seed.encode()).digest()[:10], "big")
    return "".join(CROCKFORD[n >> shift & 31] for shift in range(125, -1, -5))


def iso(at, zone=None):
    """RFC 3339 with milliseconds: `Z`, or the offset of `zone`."""
    text = at.astimezone(zone or timezone.utc).isoformat(timespec="milliseconds")
    return text if zone else text.replace("+00:00", "Z")


def number(text):
    """The value the device measured, in its own steps of 0.001: without the noise of having been printed as a float."""
    value = Decimal(text).quantize(Decimal("0.001"))
    assert abs(value - Decimal(text)) < Decimal("1e-9"), text
    return value


def plain(value):
    """A decimal without exponent and without trailing zeros."""
    return format(value.normalize(), "f")


def integer(text):
    value = number(text)
    assert value == int(value), text
    return str(int(value))


def time_of(row):
    return datetime.fromisoformat(row["t_utc"].replace("Z", "+00:00"))


def put(fields, name, text):
    if text != "":
        fields.append((name, text))


def kinematic_rows(source, trip):
    """(time, fields) of every second of the trip in which a GNSS frame arrived."""
    with gzip.open(os.path.join(source, "canedge_trips_1hz.csv.gz"), "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["trip"] == trip]
    before, travelled, last_trip = None, 0, 0
    for row in rows:
        if row["FixType"] == "":
            before = None
            continue
        fields = []
        put(fields, "latitude", row["Latitude"])
        put(fields, "longitude", row["Longitude"])
        put(fields, "altitude", row["Altitude"])
        put(fields, "heading", row["Heading"])
        if row["Speed"]:
            fields.append(("speed", plain(number(row["Speed"]) * Decimal("3.6"))))
        put(fields, "horizontal_accuracy", row["PositionAccuracy"])
        fields.append(("satellites", integer(row["Satellites"])))
        fields.append(("fix_type", '"%s"' % FIX[row["FixType"]]))
        if trip == "A":
            if before and row["SpeedValid"] == before["SpeedValid"] == "1.0":
                fields.append(("accel_x", plain(number(row["Speed"]) - number(before["Speed"]))))
        else:
            put(fields, "accel_x", row["ax_mean"])
        put(fields, "yaw_rate", row["yaw_mean"])
        if trip == "A":
            fields.append(("odometer", plain(number(row["DistanceTotal"]) * 1000)))
        elif row["DistanceTrip"]:
            now = int(number(row["DistanceTrip"]))
            travelled += now - last_trip if now >= last_trip else now
            last_trip = now
            fields.append(("odometer", str(travelled)))
        before = row
        yield time_of(row), fields


def status_rows(source):
    """(time, fields) of every OBD-II row of trip C."""
    with open(os.path.join(source, "canedge_tripC_obd2_7s.csv"), newline="") as file:
        for row in csv.DictReader(file):
            fields = []
            for name, column in [("rpm", "rpm"), ("fuel_level", "fuel_pct"), ("fuel_rate", "fuel_rate_lph"),
                                 ("coolant_temp", "coolant_c"), ("battery_voltage", "module_volt")]:
                put(fields, name, row[column])
            yield time_of(row), fields


def message(kind, vehicle, sequence, rows, zone=None, sent=None, order="envelope-first"):
    """One message as text; it is sent a second after its last row."""
    sent = sent or rows[-1][0] + timedelta(seconds=1)
    entries = ",".join(
        '{"timestamp_iso":"%s","seq":%d%s}' % (iso(at, zone), seq, "".join(',"%s":%s' % f for f in fields))
        for seq, (at, fields) in enumerate(rows)
    )
    head = [
        '"object":"vehicle","type":"%s","command":"report","id":%d' % (kind, vehicle),
        '"device_id":"SFT-%07d","message_id":"%s","message_seq":%d' % (vehicle, ulid(sent, f"{kind}/{vehicle}/{sequence}"), sequence),
        '"schema_version":"1.2","firmware":"2.4.1","messaged_at":"%s","buffered":false' % iso(sent, zone),
        '"measurements_count":%d' % len(rows),
    ]
    lst = '"measurements":[%s]' % entries
    parts = head + [lst] if order == "envelope-first" else [lst] + head[::-1]
    return "{" + ",".join(parts) + "}"


def windows(rows, seconds):
    """Rows that lie within the same span, counted from the first row."""
    rows = list(rows)
    start, out = rows[0][0], []
    for row in rows:
        n = int((row[0] - start).total_seconds()) // seconds
        if not out or out[-1][0] != n:
            out.append((n, []))
        out[-1][1].append(row)
    return [batch for _, batch in out]


def main(source, target):
    for trip in "AC":
        batches = windows(kinematic_rows(source, trip), 60)
        write(target, f"vehicle-kinematic/canedge-trip-{trip.lower()}",
              [message("kinematic", VEHICLES[trip], n + 1, rows) for n, rows in enumerate(batches)])
    rows = list(status_rows(source))
    batches = [rows[n:n + 6] for n in range(0, len(rows), 6)]
    write(target, "vehicle-status/canedge-trip-c-obd2",
          [message("status", VEHICLES["C"], n + 1, batch) for n, batch in enumerate(batches)])


def write(target, case, lines):
    folder = os.path.join(target, case)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "messages.ndjson"), "w", newline="") as file:
        file.writelines(line + "\n" for line in lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
