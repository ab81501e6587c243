-- The last known position of each vehicle.
select id, timestamp_iso, latitude, longitude
from (
  select
    id,
    timestamp_iso,
    latitude,
    longitude,
    row_number() over (partition by id order by timestamp_iso desc, seq desc) as place
  from vehicle_kinematic_report
  where ymd between '2023-01-01' and '2023-01-02'
) as positions
where place = 1
order by id
