/*
description = """
How the batteries of all electric vehicles were on a day. A fleet without an electric vehicle that reported has no row."""
owner = "fleet-data@example.com"
grain = "a day of the whole fleet"
keys = ["fleet"]
columns = """
fleet             string  `all`, for there is one fleet
vehicles          bigint  electric vehicles that reported
low_vehicles      bigint  of them, those whose state of charge was under 20 % at some time
hot_vehicles      bigint  of them, those whose battery had 45 °C or more at some time
charged_vehicles  bigint  of them, those that charged
mean_last_soc     double  %, the mean of the last states of charge
used_kwh          double  kWh that all batteries gave
charged_kwh       double  kWh that all batteries took while their vehicles were charging
"""

[sources.ev_energy_daily]

[checks]
"no part is more than all" = "low_vehicles <= vehicles and hot_vehicles <= vehicles and charged_vehicles <= vehicles"

[[examples]]
name = "two vehicles"
given.ev_energy_daily = """
id | used_kwh | charged_kwh | charging_s | min_soc | last_soc | max_battery_temp
7  | 10.5     | 0           | 0          | 19.5    | 30       | 44.9
8  | 2.25     | 30          | 3600       | 20      | 80       | 45
"""
expect = """
fleet | vehicles | low_vehicles | hot_vehicles | charged_vehicles | mean_last_soc | used_kwh | charged_kwh
all   | 2        | 1            | 1            | 1                | 55            | 12.75    | 30
"""
*/
select
  ymd,
  'all' as fleet,
  count(*) as vehicles,
  sum(case when min_soc < 20 then 1 else 0 end) as low_vehicles,
  sum(case when max_battery_temp >= 45 then 1 else 0 end) as hot_vehicles,
  sum(case when charging_s > 0 then 1 else 0 end) as charged_vehicles,
  avg(last_soc) as mean_last_soc,
  sum(used_kwh) as used_kwh,
  sum(charged_kwh) as charged_kwh
from ev_energy_daily
group by ymd
