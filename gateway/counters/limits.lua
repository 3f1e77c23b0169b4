-- Rate limits; the algorithm is that of memory.py. F holds operations, by name: F[name](operation, now) -> answer.

local SLOTS = 240

local function width_of(window)
  return math.max(1, math.floor(window / SLOTS))
end

-- When the newest place of a slot was taken: a slot counts in full until that has left the window.
local function newest_of(key, slot, window)
  return tonumber(redis.call('HGET', key, 'n' .. slot)) or (slot + 1) * width_of(window)
end

-- What is left of a window now: total, oldest slot, newest slot, level of the burst's bucket.
local function standing(key, window, amount, burst, now)
  local known = redis.call('HMGET', key, 't', 'h', 'l', 'v', 'm')
  local total, head, last = tonumber(known[1]) or 0, tonumber(known[2]), tonumber(known[3])
  local level = tonumber(known[4]) or 0
  if burst < amount and known[5] then
    level = math.max(0, level - (now - tonumber(known[5])) * amount)
  end
  if head then
    local gone = math.floor((now - window) / width_of(window))
    if head <= gone and newest_of(key, gone, window) + window > now then gone = gone - 1 end
    if last <= gone then
      redis.call('DEL', key)
      return 0, nil, nil, level
    end
    if head <= gone then
      for slot = head, gone do
        local count = redis.call('HGET', key, slot)
        if count then
          total = total - tonumber(count)
          redis.call('HDEL', key, slot, 'n' .. slot)
        end
      end
      head = gone + 1
      redis.call('HSET', key, 't', total, 'h', head)
    end
  end
  return total, head, last, level
end

local function wait_for(key, window, amount, burst, cost, now, total, head, last, level)
  local wait, over = 0, total + cost - amount
  if over > 0 then
    wait = window
    if head then
      for slot = head, last do
        over = over - (tonumber(redis.call('HGET', key, slot)) or 0)
        if over <= 0 then
          wait = newest_of(key, slot, window) + window - now
          break
        end
      end
    end
  end
  if burst < amount then
    local beyond = level + (cost - burst) * window
    if beyond > 0 then wait = math.max(wait, math.ceil(beyond / amount)) end
  end
  return wait
end

local function remaining_of(window, amount, burst, total, level)
  local left = amount - total
  if burst < amount then left = math.min(left, burst - math.ceil(level / window)) end
  return math.max(0, left)
end

-- {'admit', ticket, lease, {{key, cost, amount, window, burst}, ...}}
F['admit'] = function(operation, now)
  local ticket, lease, rates = operation[2], operation[3], operation[4]
  local states = {}
  for place, rate in ipairs(rates) do
    local key, cost, amount, window, burst = 'tg:l:' .. rate[1], rate[2], rate[3], rate[4], rate[5]
    if window == 0 then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
      local used = redis.call('ZCARD', key)
      if used + cost > amount then return {0, place - 1, 1000, math.max(0, amount - used)} end
      states[place] = {used}
    else
      local total, head, last, level = standing(key, window, amount, burst, now)
      local wait = wait_for(key, window, amount, burst, cost, now, total, head, last, level)
      if wait > 0 then return {0, place - 1, wait, remaining_of(window, amount, burst, total, level)} end
      states[place] = {total, head, level}
    end
  end
  local standings = {}
  for place, rate in ipairs(rates) do
    local key, cost, amount, window, burst = 'tg:l:' .. rate[1], rate[2], rate[3], rate[4], rate[5]
    local state = states[place]
    if window == 0 then
      redis.call('ZADD', key, now + lease, ticket)
      redis.call('PEXPIRE', key, 2 * lease)
      standings[place] = {amount - state[1] - cost, 0}
    else
      local slot = math.floor(now / width_of(window))
      local total, level = state[1] + cost, state[3] + cost * window
      redis.call('HINCRBY', key, slot, cost)
      redis.call('HSET', key, 't', total, 'h', state[2] or slot, 'l', slot, 'n' .. slot, now)
      if burst < amount then redis.call('HSET', key, 'v', level, 'm', now) end
      redis.call('PEXPIRE', key, 2 * window + 1000)
      standings[place] = {remaining_of(window, amount, burst, total, level), window}
    end
  end
  return {1, now, standings}
end

-- {'used', ticket, at, {{key, amount, window, burst, difference}, ...}}: give places back, correct what was reserved
F['used'] = function(operation, now)
  local ticket, at = operation[2], operation[3]
  for _, rate in ipairs(operation[4]) do
    local key, amount, window, burst, difference = 'tg:l:' .. rate[1], rate[2], rate[3], rate[4], rate[5]
    if window == 0 then
      redis.call('ZREM', key, ticket)
    else
      local slot = math.floor(at / width_of(window))
      if redis.call('HEXISTS', key, slot) == 1 then
        redis.call('HINCRBY', key, slot, difference)
        redis.call('HINCRBY', key, 't', difference)
        if burst < amount and redis.call('HINCRBY', key, 'v', difference * window) < 0 then
          redis.call('HSET', key, 'v', 0)
        end
      end
    end
  end
  return 1
end

-- {'renew', lease, {{key, ticket}, ...}}: places that are still taken
F['renew'] = function(operation, now)
  for _, place in ipairs(operation[3]) do
    redis.call('ZADD', 'tg:l:' .. place[1], 'XX', now + operation[2], place[2])
    redis.call('PEXPIRE', 'tg:l:' .. place[1], 2 * operation[2])
  end
  return 1
end
