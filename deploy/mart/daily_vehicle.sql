/*
description = """
What each vehicle did on a day: the trips that began on it, and its harsh events. A vehicle that neither drove nor had an \
event has no row."""
owner = "fleet-data@example.com"
grain = "a vehicle on a day"
keys = ["id"]
columns = """
id             bigint     the vehicle
trips          bigint     how many trips began
first_begin_at timestamp  when the first trip began
last_end_at    timestamp  when the last trip ended
duration_s     double     seconds of all trips
moving_s       double     seconds of all trips at 3 km/h or more
distance_km    double     km of all trips, along the positions
max_speed      double     km/h, the highest speed of all trips
harsh_brakes   bigint     how often it braked harshly
harsh_accels   bigint     how often it accelerated harshly
harsh_corners  bigint     how often it cornered harshly
overspeeds     bigint     how often it was too fast
"""

[sources.trip]

[sources.harsh_event]

[checks]
"a vehicle that drove has its times" = "trips = 0 or (first_begin_at is not null and last_end_at >= first_begin_at)"

[[examples]]
name = "sums of a day"
given.trip = """
id | begin_at             | end_at               | duration_s | moving_s | distance_km | max_speed
7  | 2023-01-01T08:00:00Z | 2023-01-01T09:00:00Z | 3600       | 3000     | 50.25       | 101
7  | 2023-01-01T10:00:00Z | 2023-01-01T10:30:00Z | 1800       | 600      | 10.5        | 50
8  | 2023-01-01T10:00:00Z | 2023-01-01T10:00:10Z | 10         | 10       | 0.1         | 40
"""
given.harsh_event = """
id | event_type
7  | harsh_brake
7  | harsh_brake
7  | overspeed
9  | harsh_corner
"""
expect = """
id | trips | first_begin_at       | last_end_at          | duration_s | moving_s | distance_km | max_speed | harsh_brakes | harsh_accels | harsh_corners | overspeeds
7  | 2     | 2023-01-01T08:00:00Z | 2023-01-01T10:30:00Z | 5400       | 3600     | 60.75       | 101       | 2            | 0            | 0             | 1
8  | 1     | 2023-01-01T10:00:00Z | 2023-01-01T10:00:10Z | 10         | 10       | 0.1         | 40        | 0            | 0            | 0             | 0
9  | 0     |                      |                      | 0          | 0        | 0.0         |           | 0            | 0            | 1             | 0
"""
*/
with trips as (
  select
    ymd, id, count(*) as trips, min(begin_at) as first_begin_at, max(end_at) as last_end_at,
    sum(duration_s) as duration_s, sum(moving_s) as moving_s, sum(distance_km) as distance_km, max(max_speed) as max_speed
  from trip
  group by ymd, id
),
events as (
  select
    ymd, id,
    sum(case when event_type = 'harsh_brake' then 1 else 0 end) as harsh_brakes,
    sum(case when event_type = 'harsh_accel' then 1 else 0 end) as harsh_accels,
    sum(case when event_type = 'harsh_corner' then 1 else 0 end) as harsh_corners,
    sum(case when event_type = 'overspeed' then 1 else 0 end) as overspeeds
  from harsh_event
  group by ymd, id
)
select
  coalesce(trips.ymd, events.ymd) as ymd,
  coalesce(trips.id, events.id) as id,
  coalesce(trips.trips, 0) as trips,
  trips.first_begin_at,
  trips.last_end_at,
  coalesce(trips.duration_s, 0) as duration_s,
  coalesce(trips.moving_s, 0) as moving_s,
  coalesce(trips.distance_km, 0) as distance_km,
  trips.max_speed,
  coalesce(events.harsh_brakes, 0) as harsh_brakes,
  coalesce(events.harsh_accels, 0) as harsh_accels,
  coalesce(events.harsh_corners, 0) as harsh_corners,
  coalesce(events.overspeeds, 0) as overspeeds
from trips
full join events on events.ymd = trips.ymd and events.id = trips.id
