-- Kept answers: sealed values under a key of their own, each with its time.

F.fetch = function(operation)
  return redis.call('GET', operation[2]) or ''
end

F.keep = function(operation)
  redis.call('SET', operation[2], operation[3], 'PX', operation[4])
  return 1
end
