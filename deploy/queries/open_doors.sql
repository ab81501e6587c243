-- Vehicles that moved with a door open. Firmware before 2.0 did not know the trunk.
select
  s.id,
  s.timestamp_iso,
  s.doors.front_left as front_left,
  coalesce(s.doors.trunk, false) as trunk
from vehicle_status_report as s
where s.ymd = '2023-01-01'
  and (s.doors.front_left or s.doors.trunk)
order by s.id, s.timestamp_iso
