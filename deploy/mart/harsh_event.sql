/*
description = """
What drivers should not do: braking, accelerating and cornering harshly, and driving too fast, as the devices report it. An \
event that was sent twice is one. It belongs to the day in which it happened."""
owner = "safety@example.com"
grain = "an event of a vehicle"
keys = ["id", "event_at", "event_type", "event_id"]
columns = """
id             bigint     the vehicle
event_at       timestamp  when it happened
event_type     string     harsh_brake, harsh_accel, harsh_corner or overspeed
event_id       string     the name that the device gave it; `none` if it gave none
severity       bigint     as the device rates it
value          double     m/s² for accelerations, km/h for overspeed
latitude       double     degrees
longitude      double     degrees
trip_begin_at  timestamp  when the trip began in which it happened; null if there is none
"""

[sources.vehicle_event_report]
columns = """
id bigint, timestamp_iso timestamp, event_id string, event_type string, severity bigint, value double, latitude double,
longitude double"""

[sources.trip]
reads = "1 day before"

[[examples]]
name = "each event once, with its trip"
given.vehicle_event_report = """
id | timestamp_iso        | event_id | event_type  | severity | value
7  | 2023-01-01T08:00:05Z | A        | harsh_brake | 2        | -3.5
7  | 2023-01-01T08:00:05Z | A        | harsh_brake | 2        | -3.5
7  | 2023-01-01T08:00:05Z | B        | overspeed   | 1        | 92
7  | 2023-01-01T07:00:00Z |          | harsh_accel | 1        | 2.5
7  | 2023-01-01T08:00:06Z | C        | trip_end    | 0        | 0
"""
given.trip = """
id | ymd        | begin_at             | end_at
7  | 2022-12-31 | 2022-12-31T23:00:00Z | 2023-01-01T06:59:59Z
7  | 2023-01-01 | 2023-01-01T08:00:00Z | 2023-01-01T09:00:00Z
8  | 2023-01-01 | 2023-01-01T07:00:00Z | 2023-01-01T07:00:00Z
"""
expect = """
id | event_at             | event_type  | event_id | severity | value | trip_begin_at
7  | 2023-01-01T07:00:00Z | harsh_accel | none     | 1        | 2.5   |
7  | 2023-01-01T08:00:05Z | harsh_brake | A        | 2        | -3.5  | 2023-01-01T08:00:00Z
7  | 2023-01-01T08:00:05Z | overspeed   | B        | 1        | 92    | 2023-01-01T08:00:00Z
"""
*/
with events as (
  select
    id, ymd, timestamp_iso as event_at, event_type, coalesce(event_id, 'none') as event_id,
    max(severity) as severity, max(value) as value, max(latitude) as latitude, max(longitude) as longitude
  from vehicle_event_report
  where event_type in ('harsh_brake', 'harsh_accel', 'harsh_corner', 'overspeed')
    and id is not null and timestamp_iso is not null
  group by id, ymd, timestamp_iso, event_type, coalesce(event_id, 'none')
),
placed as (
  select events.id, events.event_at, max(trip.begin_at) as trip_begin_at
  from events
  join trip on trip.id = events.id and trip.begin_at <= events.event_at and events.event_at <= trip.end_at
  group by events.id, events.event_at
)
select
  events.ymd, events.id, events.event_at, events.event_type, events.event_id, events.severity, events.value,
  events.latitude, events.longitude, placed.trip_begin_at
from events
left join placed on placed.id = events.id and placed.event_at = events.event_at
