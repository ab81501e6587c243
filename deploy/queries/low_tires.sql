-- The wheels with low pressure, and how often each was measured so.
select
  tires.id,
  tires.axle,
  tires.wheel,
  count(*) as times,
  min(tires.pressure) as lowest,
  max(vehicles.top_speed) as top_speed
from vehicle_tire_report as tires
left join (
  select id, max(speed) as top_speed
  from vehicle_kinematic_report
  where ymd = '2023-01-01'
  group by id
) as vehicles
  on vehicles.id = tires.id
where tires.ymd = '2023-01-01'
  and tires.is_low
group by tires.id, tires.axle, tires.wheel
order by tires.id, tires.axle, tires.wheel
