/*
description = """
The energy that the battery of each electric vehicle gave and took on a day: voltage times current of each report counts \
until the next one, for a minute at most. Braking charges, too; what is charged at a plug is told apart by `is_charging`."""
owner = "fleet-data@example.com"
grain = "an electric vehicle on a day"
keys = ["id"]
columns = """
id                bigint     the vehicle
used_kwh          double     kWh that the battery gave
recovered_kwh     double     kWh that it took while the vehicle was not charging
charged_kwh       double     kWh that it took while the vehicle was charging
charging_s        double     seconds of charging
min_soc           double     %, the lowest state of charge
max_soc           double     %, the highest state of charge
last_soc          double     %, the last state of charge
max_battery_temp  double     °C, the highest temperature of the battery
min_battery_temp  double     °C, the lowest temperature of the battery
"""

[sources.vehicle_ev_report]
columns = """
id bigint, timestamp_iso timestamp, seq bigint, soc double, voltage double, current double, battery_temp_min double,
battery_temp_max double, is_charging boolean"""

[checks]
"energy has no sign here" = "used_kwh >= 0 and recovered_kwh >= 0 and charged_kwh >= 0"

[[examples]]
name = "driving, braking and charging"
given.vehicle_ev_report = """
id | timestamp_iso        | seq | soc | voltage | current | battery_temp_min | battery_temp_max | is_charging
7  | 2023-01-01T00:00:10Z | 1   | 49  | 400     | 90      | 10               | 21               | false
7  | 2023-01-01T00:00:00Z | 0   | 50  | 400     | -90     | 10               | 20               | false
7  | 2023-01-01T00:00:20Z | 2   | 49  | 400     | 45      | 11               | 22               | true
7  | 2023-01-01T00:10:00Z | 0   | 60  | 400     | 0       | 12               | 30               | true
"""
# 400 V * 90 A = 36 kW, of which 10 s are 0.1 kWh. 18 kW for 60 s are 0.3 kWh.
expect = """
id | used_kwh | recovered_kwh | charged_kwh | charging_s | min_soc | max_soc | last_soc | max_battery_temp | min_battery_temp
7  | 0.100    | 0.100         | 0.300       | 60         | 49      | 60      | 60       | 30               | 10
"""
*/
with reports as (
  select distinct
    ymd, id, timestamp_iso, seq, soc, voltage, current, battery_temp_min, battery_temp_max, is_charging
  from vehicle_ev_report
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
    voltage * current / 1000 as kw,
    row_number() over (partition by ymd, id order by timestamp_iso desc, seq desc, soc desc, voltage desc, current desc)
      as number_from_end
  from reports
  window by_time as (partition by ymd, id order by timestamp_iso, seq, soc, voltage, current)
)
select
  ymd,
  id,
  sum(case when kw < 0 then -kw * seconds / 3600 else 0 end) as used_kwh,
  sum(case when kw > 0 and not coalesce(is_charging, false) then kw * seconds / 3600 else 0 end) as recovered_kwh,
  sum(case when kw > 0 and is_charging then kw * seconds / 3600 else 0 end) as charged_kwh,
  sum(case when is_charging then seconds else 0 end) as charging_s,
  min(soc) as min_soc,
  max(soc) as max_soc,
  max(case when number_from_end = 1 then soc end) as last_soc,
  max(battery_temp_max) as max_battery_temp,
  min(battery_temp_min) as min_battery_temp
from steps
group by ymd, id
