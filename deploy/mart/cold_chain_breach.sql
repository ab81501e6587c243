/*
description = """
When goods became too warm: a sensor measured more than its limit for five minutes or longer, without a gap of more than a \
minute. A sensor whose median of the day is under -5 °C is in a freezer, whose limit is -15 °C; one whose median is from \
-5 °C to 10 °C is in a cooler, whose limit is 8 °C; another one is in no cold chain. A breach over midnight is one of each \
day."""
owner = "cold-chain@example.com"
grain = "a time in which a sensor was too warm"
keys = ["id", "sensor_id", "begin_at"]
columns = """
id             bigint     the vehicle
sensor_id      string     the sensor
begin_at       timestamp  the first measurement over the limit
end_at         timestamp  the last measurement over the limit
duration_s     double     seconds from the first to the last one
limit_c        double     °C, the limit
max_c          double     °C, the highest temperature
open_share     double     the share of measurements with an open door, from 0 to 1
"""

[sources.sensor_measurements_report]
columns = """
id bigint, timestamp_iso timestamp, seq bigint, sensor_id string, temperature double, cargo_door_open boolean"""

[checks]
"a breach lasts five minutes or longer" = "duration_s >= 300"

[[examples]]
name = "too warm for five minutes, and for four; a gap ends a breach"
given.sensor_measurements_report = """
id | timestamp_iso        | seq | sensor_id | temperature | cargo_door_open
7  | 2023-01-01T00:00:00Z | 0   | F         | -18         | false
7  | 2023-01-01T00:01:00Z | 0   | F         | -14         | true
7  | 2023-01-01T00:02:00Z | 0   | F         | -13         | true
7  | 2023-01-01T00:03:00Z | 0   | F         | -12         | false
7  | 2023-01-01T00:04:00Z | 0   | F         | -13         | false
7  | 2023-01-01T00:05:00Z | 0   | F         | -14         | false
7  | 2023-01-01T00:06:00Z | 0   | F         | -14.5       | false
7  | 2023-01-01T00:07:00Z | 0   | F         | -15         | false
7  | 2023-01-01T00:08:00Z | 0   | F         | -18         | false
7  | 2023-01-01T00:09:00Z | 0   | F         | -14         | false
7  | 2023-01-01T00:13:00Z | 0   | F         | -14         | false
7  | 2023-01-01T00:14:00Z | 0   | F         | -20         | false
7  | 2023-01-01T00:00:00Z | 0   | W         | 21          | false
"""
# From 00:01 to 00:06, two of six measurements with an open door. Those at 00:09 and 00:13 are alone.
expect = """
id | sensor_id | begin_at             | end_at               | duration_s | limit_c | max_c | open_share
7  | F         | 2023-01-01T00:01:00Z | 2023-01-01T00:06:00Z | 300        | -15     | -12   | 0.333
"""
*/
with measured as (
  select distinct ymd, id, sensor_id, timestamp_iso, seq, temperature, cargo_door_open
  from sensor_measurements_report
  where id is not null and sensor_id is not null and timestamp_iso is not null and temperature is not null
),
medians as (
  select ymd, id, sensor_id, median(temperature) as median_c
  from measured
  group by ymd, id, sensor_id
),
limits as (
  select ymd, id, sensor_id, cast(case when median_c < -5 then -15 else 8 end as double precision) as limit_c
  from medians
  where median_c <= 10
),
steps as (
  select
    measured.*,
    limits.limit_c,
    measured.temperature > limits.limit_c as is_warm,
    case
      when lag(measured.temperature > limits.limit_c) over by_time
        and lag(measured.timestamp_iso) over by_time >= measured.timestamp_iso - interval '1' minute
        then 0
      else 1
    end as is_first
  from measured
  join limits
    on limits.ymd = measured.ymd and limits.id = measured.id and limits.sensor_id = measured.sensor_id
  window by_time as (
    partition by measured.ymd, measured.id, measured.sensor_id
    order by measured.timestamp_iso, measured.seq, measured.temperature
  )
),
numbered as (
  select
    *,
    sum(is_first) over (
      partition by ymd, id, sensor_id order by timestamp_iso, seq, temperature
      rows between unbounded preceding and current row
    ) as breach
  from steps
)
select
  ymd,
  id,
  sensor_id,
  min(timestamp_iso) as begin_at,
  max(timestamp_iso) as end_at,
  round(extract(epoch from max(timestamp_iso)) - extract(epoch from min(timestamp_iso)), 3) as duration_s,
  max(limit_c) as limit_c,
  max(temperature) as max_c,
  avg(cast(case when cargo_door_open then 1 else 0 end as double precision)) as open_share
from numbered
where is_warm
group by ymd, id, sensor_id, breach
having extract(epoch from max(timestamp_iso)) - extract(epoch from min(timestamp_iso)) >= 300
