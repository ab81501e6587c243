/*
description = """
The way of each trip as a line of few points, for maps. No position with a fix is farther than ten metres from the \
line; of each second, the first one is taken. The positions of a trip are cut into blocks of 2, 8, 32 and 128 of \
them, each of which ends where the next one begins. Of a block of which none is farther than ten metres from the line \
between its ends, only the ends stay. So the largest of such blocks follow each other, and the line consists of theirs."""
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
name = "points on a line say nothing; a corner stays, and so does where a block ends in which it is"
given.trip = """
id | begin_at             | end_at
7  | 2023-01-01T00:00:00Z | 2023-01-01T00:01:00Z
"""
given.vehicle_kinematic_report = """
id | timestamp_iso        | seq | latitude | longitude | speed | fix_type
7  | 2023-01-01T00:00:00Z | 0   | 50.000   | 10.000    | 40    | THREE_D
7  | 2023-01-01T00:00:05Z | 1   | 50.0005  | 10.0001   | 40    | THREE_D
7  | 2023-01-01T00:00:05Z | 2   | 50.0005  | 10.010    | 40    | THREE_D
7  | 2023-01-01T00:00:10Z | 3   | 50.001   | 10.000    | 40    | THREE_D
7  | 2023-01-01T00:00:20Z | 4   | 50.002   | 10.000    | 41    | THREE_D
7  | 2023-01-01T00:00:30Z | 5   | 50.002   | 10.003    | 42    | THREE_D
7  | 2023-01-01T00:00:40Z | 6   | 0        | 0         | 42    | NONE
7  | 2023-01-01T00:05:00Z | 7   | 51.000   | 10.003    | 0     | THREE_D
"""
# The second position is 7 m east of the line from the first to the fourth, and the third one is of the same second. The
# fifth is a corner, in the block of two that begins with the fourth. The last one is after the trip.
expect = """
id | trip_begin_at        | point | at                   | latitude | longitude | speed | ymd
7  | 2023-01-01T00:00:00Z | 1     | 2023-01-01T00:00:00Z | 50.000   | 10.000    | 40    | 2023-01-01
7  | 2023-01-01T00:00:00Z | 2     | 2023-01-01T00:00:10Z | 50.001   | 10.000    | 40    | 2023-01-01
7  | 2023-01-01T00:00:00Z | 3     | 2023-01-01T00:00:20Z | 50.002   | 10.000    | 41    | 2023-01-01
7  | 2023-01-01T00:00:00Z | 4     | 2023-01-01T00:00:30Z | 50.002   | 10.003    | 42    | 2023-01-01
"""

[[examples]]
name = "a way there and back is not the line between its ends"
given.trip = """
id | begin_at             | end_at
7  | 2023-01-01T00:00:00Z | 2023-01-01T00:01:00Z
"""
given.vehicle_kinematic_report = """
id | timestamp_iso        | latitude | longitude | speed | fix_type
7  | 2023-01-01T00:00:00Z | 50.000   | 10.000    | 40    | THREE_D
7  | 2023-01-01T00:00:10Z | 50.001   | 10.000    | 40    | THREE_D
7  | 2023-01-01T00:00:20Z | 50.000   | 10.000    | 40    | THREE_D
"""
expect = """
id | trip_begin_at        | point | at                   | latitude | ymd
7  | 2023-01-01T00:00:00Z | 1     | 2023-01-01T00:00:00Z | 50.000   | 2023-01-01
7  | 2023-01-01T00:00:00Z | 2     | 2023-01-01T00:00:10Z | 50.001   | 2023-01-01
7  | 2023-01-01T00:00:00Z | 3     | 2023-01-01T00:00:20Z | 50.000   | 2023-01-01
"""
*/
with seconds as (
  select
    trip.ymd, trip.id, trip.begin_at, positions.timestamp_iso, positions.latitude, positions.longitude, positions.speed,
    row_number() over (
      partition by trip.id, trip.begin_at, floor(extract(epoch from positions.timestamp_iso))
      order by positions.timestamp_iso, positions.seq, positions.latitude, positions.longitude, positions.speed
    ) as number
  from vehicle_kinematic_report as positions
  join trip
    on trip.id = positions.id and trip.begin_at <= positions.timestamp_iso and positions.timestamp_iso <= trip.end_at
  where coalesce(positions.fix_type, '') <> 'NONE' and (positions.latitude <> 0 or positions.longitude <> 0)
    and positions.latitude is not null and positions.longitude is not null
),
points as (
  select
    ymd, id, begin_at, timestamp_iso, latitude, longitude, speed,
    row_number() over by_time - 1 as point,
    lead(latitude) over by_time as next_latitude,
    lead(longitude) over by_time as next_longitude
  from seconds
  where number = 1
  window by_time as (partition by id, begin_at order by timestamp_iso)
),
sizes as (
  select 2 as size union all select 8 as size union all select 32 as size union all select 128 as size
),
in_blocks as (
  select points.*, sizes.size, points.point - points.point % sizes.size as block from points cross join sizes
),
-- A block ends with the point after its last one, which is the first of the next block.
ends as (
  select
    *,
    first_value(latitude) over in_block as from_latitude,
    first_value(longitude) over in_block as from_longitude,
    last_value(coalesce(next_latitude, latitude)) over in_block as to_latitude,
    last_value(coalesce(next_longitude, longitude)) over in_block as to_longitude
  from in_blocks
  window in_block as (
    partition by id, begin_at, size, block order by point rows between unbounded preceding and unbounded following)
),
-- Metres to the east and to the north of the block's beginning, where a degree of longitude is as long as at the point.
beside as (
  select
    *,
    (longitude - from_longitude) * 111195.08 * cos(radians(latitude)) as east,
    (latitude - from_latitude) * 111195.08 as north,
    (to_longitude - from_longitude) * 111195.08 * cos(radians(latitude)) as east_of_line,
    (to_latitude - from_latitude) * 111195.08 as north_of_line
  from ends
),
-- Where on the line it is nearest: 0 is its beginning and 1 its end.
nearest as (
  select
    *,
    greatest(0.0, least(1.0, coalesce(
      (east * east_of_line + north * north_of_line)
        / nullif(east_of_line * east_of_line + north_of_line * north_of_line, 0), 0.0))) as share
  from beside
),
blocks as (
  select
    *,
    max(
      (east - share * east_of_line) * (east - share * east_of_line)
        + (north - share * north_of_line) * (north - share * north_of_line)
    ) over (partition by id, begin_at, size, block) as square_of_distance
  from nearest
),
kept as (
  select ymd, id, begin_at, point, timestamp_iso, latitude, longitude, speed
  from blocks
  group by ymd, id, begin_at, point, timestamp_iso, latitude, longitude, speed
  -- It is in no block of which only the ends stay.
  having max(case when square_of_distance <= 100 and point > block and next_latitude is not null then 1 else 0 end) = 0
)
select
  ymd,
  id,
  begin_at as trip_begin_at,
  row_number() over (partition by id, begin_at order by point) as point,
  timestamp_iso as at,
  latitude,
  longitude,
  speed
from kept
