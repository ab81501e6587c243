/*
description = """
What the driver assistance of each vehicle warned of on a day, beside how far it drove. A warning that was sent twice is \
one."""
owner = "safety@example.com"
grain = "a vehicle with a warning on a day"
keys = ["id"]
columns = """
id                   bigint  the vehicle
forward_collisions   bigint  warnings of a collision ahead (FCW)
lane_departures      bigint  warnings of leaving the lane (LDW)
pedestrians          bigint  warnings of a collision with a pedestrian (PCW)
drowsy               bigint  times the driver seemed tired (DMS_DROWSY)
distracted           bigint  times the driver looked away (DMS_DISTRACT)
others               bigint  warnings of other kinds
max_level            bigint  the highest level of all warnings
distance_km          double  km that the vehicle drove; null if it has no trip
warnings_per_100km   double  warnings for each 100 km; null for less than 1 km
"""

[sources.adas_event_report]
columns = "id bigint, timestamp_iso timestamp, seq bigint, message_id string, event_type string, level bigint, speed double"

[sources.daily_vehicle]

[[examples]]
name = "each warning once, and their rate"
given.adas_event_report = """
id | timestamp_iso        | seq | message_id | event_type | level | speed
7  | 2023-01-01T00:00:00Z | 0   | A          | FCW        | 2     | 50
7  | 2023-01-01T00:00:00Z | 0   | A          | FCW        | 2     | 50
7  | 2023-01-01T00:00:00Z | 0   | B          | FCW        | 1     | 50
7  | 2023-01-01T00:00:09Z | 0   | C          | DMS_DROWSY | 3     | 50
7  | 2023-01-01T00:00:09Z | 0   | D          | NEW        | 1     | 50
8  | 2023-01-01T00:00:00Z | 0   | E          | LDW        | 1     | 50
"""
given.daily_vehicle = """
id | distance_km
7  | 200
9  | 100
"""
expect = """
id | forward_collisions | lane_departures | pedestrians | drowsy | distracted | others | max_level | distance_km | warnings_per_100km
7  | 2                  | 0               | 0           | 1      | 0          | 1      | 3         | 200         | 2.0
8  | 0                  | 1               | 0           | 0      | 0          | 0      | 1         |             |
"""
*/
with warnings as (
  select distinct ymd, id, timestamp_iso, seq, message_id, event_type, level, speed
  from adas_event_report
  where id is not null
),
days as (
  select
    ymd, id,
    sum(case when event_type = 'FCW' then 1 else 0 end) as forward_collisions,
    sum(case when event_type = 'LDW' then 1 else 0 end) as lane_departures,
    sum(case when event_type = 'PCW' then 1 else 0 end) as pedestrians,
    sum(case when event_type = 'DMS_DROWSY' then 1 else 0 end) as drowsy,
    sum(case when event_type = 'DMS_DISTRACT' then 1 else 0 end) as distracted,
    sum(case when coalesce(event_type, '') in ('FCW', 'LDW', 'PCW', 'DMS_DROWSY', 'DMS_DISTRACT') then 0 else 1 end)
      as others,
    max(level) as max_level,
    count(*) as warnings
  from warnings
  group by ymd, id
)
select
  days.ymd, days.id, days.forward_collisions, days.lane_departures, days.pedestrians, days.drowsy, days.distracted,
  days.others, days.max_level, daily_vehicle.distance_km,
  case when daily_vehicle.distance_km >= 1 then days.warnings * 100 / daily_vehicle.distance_km end as warnings_per_100km
from days
left join daily_vehicle on daily_vehicle.ymd = days.ymd and daily_vehicle.id = days.id
