/*
description = """
The way of each trip as a line of few points, for maps. Of the positions with a fix, the first one in each ten seconds is \
taken, and then every one left out that is less than ten metres from the line between its neighbours."""
owner = "fleet-data@example.com"
grain = "a point of a trip"
keys = ["id", "trip_begin_at", "point"]
columns = """
id             bigint     the vehicle
trip_begin_at  timestamp  when the trip began
point          bigint     the number of the point in its trip, from 1 on
at             timestamp  when the vehicle was there
latitude       double     degrees
longitude      double     degrees
speed          double     km/h
"""

[sources.vehicle_kinematic_report]
reads = "1 day after"
columns = """
id bigint, timestamp_iso timestamp, seq bigint, latitude double, longitude double, speed double, fix_type string"""

[sources.trip]
reads = "1 day after"

[[examples]]
name = "straight on, one point in the middle says nothing; a corner stays"
given.trip = """
id | begin_at             | end_at
7  | 2023-01-01T00:00:00Z | 2023-01-01T00:01:00Z
"""
given.vehicle_kinematic_report = """
id | timestamp_iso        | seq | latitude | longitude | speed | fix_type
7  | 2023-01-01T00:00:00Z | 0   | 50.000   | 10.000    | 40    | THREE_D
7  | 2023-01-01T00:00:05Z | 1   | 50.0005  | 10.010    | 40    | THREE_D
7  | 2023-01-01T00:00:10Z | 2   | 50.001   | 10.000    | 40    | THREE_D
7  | 2023-01-01T00:00:20Z | 3   | 50.002   | 10.000    | 41    | THREE_D
7  | 2023-01-01T00:00:30Z | 4   | 50.002   | 10.003    | 42    | THREE_D
7  | 2023-01-01T00:00:40Z | 5   | 0        | 0         | 42    | NONE
7  | 2023-01-01T00:05:00Z | 6   | 51.000   | 10.003    | 0     | THREE_D
"""
# The second position is in the same ten seconds as the first. The third is on the line from the first to the fourth. The
# last one is after the trip.
expect = """
id | trip_begin_at        | point | at                   | latitude | longitude | speed | ymd
7  | 2023-01-01T00:00:00Z | 1     | 2023-01-01T00:00:00Z | 50.000   | 10.000    | 40    | 2023-01-01
7  | 2023-01-01T00:00:00Z | 2     | 2023-01-01T00:00:20Z | 50.002   | 10.000    | 41    | 2023-01-01
7  | 2023-01-01T00:00:00Z | 3     | 2023-01-01T00:00:30Z | 50.002   | 10.003    | 42    | 2023-01-01
"""
*/
with positions as (
  select
    trip.ymd, trip.id, trip.begin_at, positions.timestamp_iso, positions.latitude, positions.longitude, positions.speed,
    row_number() over (
      partition by trip.id, trip.begin_at, floor(extract(epoch from positions.timestamp_iso) / 10)
      order by positions.timestamp_iso, positions.seq, positions.latitude, positions.longitude, positions.speed
    ) as number
  from vehicle_kinematic_report as positions
  join trip
    on trip.id = positions.id and trip.begin_at <= positions.timestamp_iso and positions.timestamp_iso <= trip.end_at
  where coalesce(positions.fix_type, '') <> 'NONE' and (positions.latitude <> 0 or positions.longitude <> 0)
),
beside as (
  select
    *,
    -- Metres to the east and to the north, from the neighbour before, and from it to the neighbour after.
    (longitude - lag(longitude) over by_time) * 111195.08 * cos(radians(latitude)) as east,
    (latitude - lag(latitude) over by_time) * 111195.08 as north,
    (lead(longitude) over by_time - lag(longitude) over by_time) * 111195.08 * cos(radians(latitude)) as east_of_line,
    (lead(latitude) over by_time - lag(latitude) over by_time) * 111195.08 as north_of_line
  from positions
  where number = 1
  window by_time as (partition by id, begin_at order by timestamp_iso)
)
select
  ymd,
  id,
  begin_at as trip_begin_at,
  row_number() over (partition by id, begin_at order by timestamp_iso) as point,
  timestamp_iso as at,
  latitude,
  longitude,
  speed
from beside
-- The first and the last point have one neighbour only, and of a turn on the spot, the line has no length.
where coalesce(
  abs(east * north_of_line - north * east_of_line)
    / nullif(sqrt(east_of_line * east_of_line + north_of_line * north_of_line), 0) >= 10,
  true
)
