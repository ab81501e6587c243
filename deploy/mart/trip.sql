/*
description = """
The trips of each vehicle. A trip is a series of positions. A new one begins after ten minutes without a position, with \
the event `trip_start`, and after the event `trip_end`. Series in which the vehicle never reached 5 km/h are left out: \
it was awake, and did not drive. A trip belongs to the day in which it begins; of one that lasts beyond the end of the \
next day, the rest is not counted. Rows are put in the order of their own times, however late and in which order they \
arrived, and a row that was sent twice counts once."""
owner = "fleet-data@example.com"
grain = "a trip of a vehicle"
keys = ["id", "begin_at"]
columns = """
id              bigint     the vehicle
begin_at        timestamp  the time of the first position
end_at          timestamp  the time of the last position
trip_id         string     the name that the device gave the trip, if an event has it
duration_s      double     seconds from the first position to the last one
moving_s        double     seconds at 3 km/h or more; gaps of more than a minute do not count
distance_km     double     km along the positions with a fix; legs that would need more than 250 km/h are jumps and do not count
odometer_km     double     km by the odometer; null if it goes back, or is off from the positions by more than 5 km and half of them
max_speed       double     km/h, the highest speed
begin_latitude  double     degrees, of the first position with a fix
begin_longitude double     degrees, of the first position with a fix
end_latitude    double     degrees, of the last position with a fix
end_longitude   double     degrees, of the last position with a fix
positions       bigint     how many positions there are, of which some have no fix
missing_s       double     seconds between positions beyond one second each
"""

[sources.vehicle_kinematic_report]
reads = "1 day before and after"
freshness = "26h"
columns = """
id bigint, timestamp_iso timestamp, seq bigint, latitude double, longitude double, speed double, odometer bigint,
fix_type string"""

[sources.vehicle_event_report]
reads = "1 day before and after"
columns = "id bigint, timestamp_iso timestamp, event_type string, trip_id string"

[checks]
"a trip does not end before it begins" = "end_at >= begin_at"
"nobody drives backwards, or faster than 250 km/h" = "distance_km >= 0 and distance_km <= (duration_s + 1) / 3600 * 250"
"a vehicle does not move for longer than the trip lasts" = "moving_s <= duration_s + 0.001"

[[examples]]
name = "a gap makes two trips; order of arrival and repeated rows make no difference"
given.vehicle_kinematic_report = """
id | timestamp_iso        | seq | latitude | longitude | speed | odometer
7  | 2023-01-01T00:00:20Z | 2   | 0.02     | 10        | 36    | 2000
7  | 2023-01-01T00:00:00Z | 0   | 0.00     | 10        | 0     | 0
7  | 2023-01-01T00:00:20Z | 2   | 0.02     | 10        | 36    | 2000
7  | 2023-01-01T00:01:00Z | 1   | 0.01     | 10        | 36    | 1000
7  | 2023-01-01T00:11:01Z | 0   | 0.01     | 10        | 20    | 1000
7  | 2023-01-01T00:11:02Z | 1   | 0.01     | 10        | 1     | 1000
"""
# 0.02 degrees of latitude in 20 s would be 400 km/h, and 0.01 degrees in 40 s are 100 km/h. A degree of a great circle of
# 6371.0088 km is 111.195080 km. The odometer goes back. At 36 km/h, the vehicle is for the 40 s from 00:00:20 on.
expect = """
id | begin_at             | end_at               | duration_s | moving_s | distance_km | odometer_km | max_speed | positions | missing_s | ymd
7  | 2023-01-01T00:00:00Z | 2023-01-01T00:01:00Z | 60         | 40       | 1.1120      |             | 36        | 3         | 58        | 2023-01-01
7  | 2023-01-01T00:11:01Z | 2023-01-01T00:11:02Z | 1          | 1        | 0.0000      | 0.000       | 20        | 2         | 0         | 2023-01-01
"""

[[examples]]
name = "events frame a trip, and name it; standing before and after it is no trip"
given.vehicle_kinematic_report = """
id | timestamp_iso        | seq | latitude | longitude | speed | odometer | fix_type
7  | 2023-01-01T00:00:00Z | 0   | 0        | 0         | 0     | 100      | NONE
7  | 2023-01-01T00:00:10Z | 1   | 50       | 10        | 0     | 100      | THREE_D
7  | 2023-01-01T00:00:15Z | 2   | 0        | 0         | 18    | 100      | THREE_D
7  | 2023-01-01T00:00:20Z | 3   | 50       | 10.001    | 18    | 170      | THREE_D
7  | 2023-01-01T00:00:30Z | 4   | 50       | 10.001    | 0     | 170      | THREE_D
"""
given.vehicle_event_report = """
id | timestamp_iso        | event_type | trip_id
7  | 2023-01-01T00:00:20Z | trip_end   | T1
7  | 2023-01-01T00:00:10Z | trip_start | T1
"""
# 0.001 degrees of longitude at 50 degrees north are 111.195080 m * cos(50 degrees) = 71.4748 m.
expect = """
id | begin_at             | end_at               | trip_id | distance_km | odometer_km | begin_latitude | end_longitude | positions
7  | 2023-01-01T00:00:10Z | 2023-01-01T00:00:20Z | T1      | 0.07147     | 0.070       | 50             | 10.001        | 3
"""

[[examples]]
name = "a trip over midnight belongs to the day in which it begins"
given.vehicle_kinematic_report = """
id | ymd        | timestamp_iso        | seq | latitude | longitude | speed
7  | 2023-01-02 | 2023-01-02T00:00:00Z | 1   | 0.01     | 10        | 60
7  | 2023-01-01 | 2023-01-01T23:59:00Z | 0   | 0        | 10        | 60
"""
expect = """
ymd        | id | begin_at             | end_at               | duration_s | distance_km
2023-01-01 | 7  | 2023-01-01T23:59:00Z | 2023-01-02T00:00:00Z | 60         | 1.1120
"""
*/
with positions as (
  select distinct
    id, ymd, timestamp_iso, seq, speed, odometer,
    case when is_fix then latitude end as latitude,
    case when is_fix then longitude end as longitude
  from (
    select
      *,
      coalesce(fix_type, '') <> 'NONE' and latitude is not null and longitude is not null
        and (latitude <> 0 or longitude <> 0) as is_fix
    from vehicle_kinematic_report
    where id is not null and timestamp_iso is not null
  ) as reported
),
-- What happens in a second: the trip starts, positions are measured, and it ends.
timeline as (
  select
    id, ymd, timestamp_iso, 1 as place, seq, speed, odometer, latitude, longitude,
    cast(null as varchar) as event_type, cast(null as varchar) as trip_id
  from positions
  union all
  select distinct
    id, ymd, timestamp_iso, case when event_type = 'trip_start' then 0 else 2 end, 0,
    cast(null as double precision), cast(null as bigint), cast(null as double precision), cast(null as double precision),
    event_type, trip_id
  from vehicle_event_report
  where event_type in ('trip_start', 'trip_end') and id is not null and timestamp_iso is not null
),
steps as (
  select
    *,
    case
      when event_type = 'trip_start' then 1
      when lag(event_type) over by_time = 'trip_end' and coalesce(event_type, '') <> 'trip_end' then 1
      when lag(timestamp_iso) over by_time >= timestamp_iso - interval '10' minute then 0
      else 1
    end as is_first
  from timeline
  window by_time as (partition by id order by timestamp_iso, place, seq, odometer, speed, latitude, longitude, trip_id)
),
numbered as (
  select
    *,
    sum(is_first) over (
      partition by id order by timestamp_iso, place, seq, odometer, speed, latitude, longitude, trip_id
      rows between unbounded preceding and current row
    ) as trip
  from steps
),
named as (
  select id, trip, max(trip_id) as trip_id from numbered where event_type is not null group by id, trip
),
moves as (
  select
    *,
    extract(epoch from lead(timestamp_iso) over by_time) - extract(epoch from timestamp_iso) as seconds,
    lead(odometer) over by_time - odometer as meters
  from numbered
  where event_type is null
  window by_time as (partition by id, trip order by timestamp_iso, seq, odometer, speed, latitude, longitude)
),
-- From one position with a fix to the next one.
fixes as (
  select
    id, trip, timestamp_iso, latitude, longitude,
    extract(epoch from timestamp_iso) - extract(epoch from lag(timestamp_iso) over by_time) as seconds,
    lag(latitude) over by_time as latitude_before,
    lag(longitude) over by_time as longitude_before,
    row_number() over by_time as number,
    row_number() over (
      partition by id, trip order by timestamp_iso desc, seq desc, odometer desc, speed desc, latitude desc, longitude desc
    ) as number_from_end
  from numbered
  where event_type is null and latitude is not null
  window by_time as (partition by id, trip order by timestamp_iso, seq, odometer, speed, latitude, longitude)
),
legs as (
  select
    *,
    2 * 6371.0088 * asin(least(1.0, sqrt(
      power(sin(radians(latitude - latitude_before) / 2), 2)
      + cos(radians(latitude_before)) * cos(radians(latitude)) * power(sin(radians(longitude - longitude_before) / 2), 2)
    ))) as km
  from fixes
),
ways as (
  select
    id, trip,
    -- To the millimetre, so that it is the same on every machine.
    round(sum(case when km <= seconds / 3600 * 250 then km else 0 end), 6) as distance_km,
    max(case when number = 1 then latitude end) as begin_latitude,
    max(case when number = 1 then longitude end) as begin_longitude,
    max(case when number_from_end = 1 then latitude end) as end_latitude,
    max(case when number_from_end = 1 then longitude end) as end_longitude
  from legs
  group by id, trip
),
trips as (
  select
    id, trip,
    min(ymd) as ymd,
    min(timestamp_iso) as begin_at,
    max(timestamp_iso) as end_at,
    round(extract(epoch from max(timestamp_iso)) - extract(epoch from min(timestamp_iso)), 3) as duration_s,
    sum(case when speed >= 3 and seconds <= 60 then seconds else 0 end) as moving_s,
    sum(case when seconds > 1 then seconds - 1 else 0 end) as missing_s,
    case when min(meters) >= 0 then (max(odometer) - min(odometer)) / cast(1000 as double precision) end as odometer_km,
    max(speed) as max_speed,
    count(*) as positions
  from moves
  group by id, trip
)
select
  trips.ymd,
  trips.id,
  trips.begin_at,
  trips.end_at,
  named.trip_id,
  trips.duration_s,
  trips.moving_s,
  coalesce(ways.distance_km, 0) as distance_km,
  case
    when abs(trips.odometer_km - coalesce(ways.distance_km, 0)) <= 5 + coalesce(ways.distance_km, 0) / 2
      then trips.odometer_km
  end as odometer_km,
  trips.max_speed,
  ways.begin_latitude,
  ways.begin_longitude,
  ways.end_latitude,
  ways.end_longitude,
  trips.positions,
  trips.missing_s
from trips
left join named on named.id = trips.id and named.trip = trips.trip
left join ways on ways.id = trips.id and ways.trip = trips.trip
where trips.max_speed >= 5
