/*
description = """
How the device of each vehicle was on a day: its heartbeats, and the trouble codes that it read from the vehicle."""
owner = "devices@example.com"
grain = "a device that sent a heartbeat or trouble codes on a day"
keys = ["id"]
columns = """
id                    bigint     the vehicle
heartbeats            bigint     how many heartbeats it sent
boots                 bigint     of them, how many were sent at boot, which say why
no_gnss               bigint     of them, how many were sent while the clock was not set by satellites
mean_rssi             double     dBm, the mean strength of the signal
min_rssi              bigint     dBm, the weakest signal
max_buffered_records  bigint     the most records that waited on the device
last_seen_at          timestamp  when the last heartbeat was sent
firmware              string     the firmware at the last heartbeat
max_dtc_count         bigint     the most trouble codes at a time; null if none were reported
mil                   boolean    whether the vehicle's warning light was on at some time; null if nothing was reported
"""

[sources.device_heartbeat_report]
columns = """
id bigint, timestamp_iso timestamp, seq bigint, rssi bigint, buffered_records bigint, clock_source string,
boot_reason string, firmware string, uptime bigint"""

[sources.vehicle_diagnostics_report]
columns = "id bigint, timestamp_iso timestamp, mil boolean, dtc_count bigint"

[checks]
"no part is more than all" = "boots <= heartbeats and no_gnss <= heartbeats"

[[examples]]
name = "heartbeats, of which one was sent twice, and trouble codes"
given.device_heartbeat_report = """
id | timestamp_iso        | seq | rssi | buffered_records | clock_source | boot_reason | firmware | uptime
7  | 2023-01-01T00:05:00Z | 0   | -90  | 120              | GNSS         |             | 2.4.2    | 300
7  | 2023-01-01T00:00:00Z | 0   | -70  | 0                | RTC          | POWER       | 2.4.1    | 0
7  | 2023-01-01T00:00:00Z | 0   | -70  | 0                | RTC          | POWER       | 2.4.1    | 0
"""
given.vehicle_diagnostics_report = """
id | timestamp_iso        | mil   | dtc_count
7  | 2023-01-01T00:00:00Z | false | 0
7  | 2023-01-01T08:00:00Z | true  | 2
8  | 2023-01-01T08:00:00Z | false | 0
"""
expect = """
id | heartbeats | boots | no_gnss | mean_rssi | min_rssi | max_buffered_records | last_seen_at         | firmware | max_dtc_count | mil
7  | 2          | 1     | 1       | -80       | -90      | 120                  | 2023-01-01T00:05:00Z | 2.4.2    | 2             | true
8  | 0          | 0     | 0       |           |          |                      |                      |          | 0             | false
"""
*/
with heartbeats as (
  select distinct
    ymd, id, timestamp_iso, seq, rssi, buffered_records, clock_source, boot_reason, firmware, uptime
  from device_heartbeat_report
  where id is not null and timestamp_iso is not null
),
numbered as (
  select
    *,
    row_number() over (partition by ymd, id order by timestamp_iso desc, seq desc, uptime desc, firmware desc) as number
  from heartbeats
),
beats as (
  select
    ymd, id,
    count(*) as heartbeats,
    count(boot_reason) as boots,
    sum(case when clock_source <> 'GNSS' then 1 else 0 end) as no_gnss,
    avg(cast(rssi as double precision)) as mean_rssi,
    min(rssi) as min_rssi,
    max(buffered_records) as max_buffered_records,
    max(timestamp_iso) as last_seen_at,
    max(case when number = 1 then firmware end) as firmware
  from numbered
  group by ymd, id
),
codes as (
  select ymd, id, max(dtc_count) as max_dtc_count, max(case when mil then 1 when not mil then 0 end) as mil
  from vehicle_diagnostics_report
  where id is not null
  group by ymd, id
)
select
  coalesce(beats.ymd, codes.ymd) as ymd,
  coalesce(beats.id, codes.id) as id,
  coalesce(beats.heartbeats, 0) as heartbeats,
  coalesce(beats.boots, 0) as boots,
  coalesce(beats.no_gnss, 0) as no_gnss,
  beats.mean_rssi,
  beats.min_rssi,
  beats.max_buffered_records,
  beats.last_seen_at,
  beats.firmware,
  codes.max_dtc_count,
  codes.mil = 1 as mil
from beats
full join codes on codes.ymd = beats.ymd and codes.id = beats.id
