"""Order of simultaneous events: faults, then deliveries of requests that were decided on earlier, then arrivals, then
step boundaries in the order of the replicas."""

OUTAGE, DELIVERY, ARRIVAL, BOUNDARY = 0, 1, 2, 3
