/*
description = """
The fuel that each vehicle burnt on a day, by its own rate: the rate of each report counts until the next one, for a minute \
at most. Electric vehicles report no rate, and have no row."""
owner = "fleet-data@example.com"
grain = "a vehicle with an engine on a day"
keys = ["id"]
columns = """
id           bigint  the vehicle
engine_s     double  seconds with the engine running
fuel_l       double  litres that were burnt
idle_fuel_l  double  litres that were burnt with the gear in neutral
refuels      bigint  how often the level of the tank rose by 5 points or more from one report to the next
distance_km  double  km by the odometer; null if it went back
l_per_100km  double  litres for each 100 km; null for less than 1 km
"""

[sources.vehicle_status_report]
columns = """
id bigint, timestamp_iso timestamp, seq bigint, engine_running boolean, fuel_rate double, fuel_level double, gear bigint,
odometer bigint"""

[checks]
"nobody makes fuel" = "fuel_l >= 0 and idle_fuel_l <= fuel_l + 0.000001"

[[examples]]
name = "a rate counts until the next report, and no longer than a minute"
given.vehicle_status_report = """
id | timestamp_iso        | seq | engine_running | fuel_rate | fuel_level | gear | odometer
7  | 2023-01-01T00:00:00Z | 0   | true           | 6         | 10         | 0    | 1000
7  | 2023-01-01T00:00:30Z | 1   | true           | 12        | 10         | 3    | 1000
7  | 2023-01-01T00:01:00Z | 2   | true           | 12        | 9          | 3    | 2000
7  | 2023-01-01T00:01:00Z | 2   | true           | 12        | 9          | 3    | 2000
7  | 2023-01-01T01:00:00Z | 3   | false          | 0         | 80         | 0    | 3000
7  | 2023-01-01T01:00:10Z | 4   | true           | 9         | 80         | 0    | 3000
8  | 2023-01-01T00:00:00Z | 0   |                |           |            | 0    | 5000
"""
# 30 s at 6 l/h are 0.05 l, 30 s at 12 l/h are 0.1 l, and 60 s of the 59 minutes at 12 l/h are 0.2 l, on 2 km.
expect = """
id | engine_s | fuel_l | idle_fuel_l | refuels | distance_km | l_per_100km
7  | 120      | 0.35   | 0.05        | 1       | 2.0         | 17.5
"""
*/
with reports as (
  select distinct ymd, id, timestamp_iso, seq, engine_running, fuel_rate, fuel_level, gear, odometer
  from vehicle_status_report
  where id is not null and timestamp_iso is not null
),
steps as (
  select
    *,
    case
      when lead(timestamp_iso) over by_time <= timestamp_iso + interval '1' minute
        then extract(epoch from lead(timestamp_iso) over by_time) - extract(epoch from timestamp_iso)
      -- The last report of the day is that of a moment.
      when lead(timestamp_iso) over by_time is null then 0
      else 60
    end as seconds,
    lead(fuel_level) over by_time - fuel_level as filled,
    lead(odometer) over by_time - odometer as meters
  from reports
  window by_time as (partition by ymd, id order by timestamp_iso, seq, odometer, fuel_level, fuel_rate, gear)
),
days as (
  select
    ymd, id,
    sum(case when engine_running then seconds else 0 end) as engine_s,
    sum(case when fuel_rate > 0 then fuel_rate * seconds / 3600 else 0 end) as fuel_l,
    sum(case when fuel_rate > 0 and gear = 0 then fuel_rate * seconds / 3600 else 0 end) as idle_fuel_l,
    sum(case when filled >= 5 then 1 else 0 end) as refuels,
    case when min(meters) >= 0 then (max(odometer) - min(odometer)) / cast(1000 as double precision) end as distance_km,
    count(fuel_rate) as rates
  from steps
  group by ymd, id
)
select
  ymd, id, engine_s, fuel_l, idle_fuel_l, refuels, distance_km,
  case when distance_km >= 1 then fuel_l * 100 / distance_km end as l_per_100km
from days
where rates > 0
