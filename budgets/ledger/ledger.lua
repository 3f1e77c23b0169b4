-- Budgets in Redis. A bucket is a hash (spent, held, doubt); a worker's holds are one hash, attempt -> hold.
-- Numbers are exact below 2^53. F holds operations, by name: F[name](operation, now) -> answer.

local MILLION = 1000000
local DOUBT_SECONDS = 3456000 -- 40 days: longer than the longest period

local function bucket_key(epoch, name)
  return 'tg:' .. epoch .. ':b:' .. name
end

local function holds_key(epoch, worker)
  return 'tg:' .. epoch .. ':h:' .. worker
end

-- What so much output costs, rounded up: like money.part, in two halves that both stay exact.
local function part(output, rate)
  local whole = math.floor(rate / MILLION)
  return output * whole + math.ceil(output * (rate - whole * MILLION) / MILLION)
end

-- The most output that this much pays for, at most what is wished; -1 when it does not even pay the rest.
local function affordable(free, base, rate, most, least, share)
  local rest = free - base
  if rest < 0 then return -1 end
  if rate == 0 then return most end
  local function fits_in(amount)
    local fits = math.floor(amount / rate * MILLION)
    while fits > 0 and part(fits, rate) > amount do fits = fits - 1 end
    while part(fits + 1, rate) <= amount do fits = fits + 1 end
    return fits
  end
  if part(most, rate) <= rest and share == 1 then return most end
  return math.min(most, fits_in(rest), math.max(fits_in(math.floor(rest / share)), least))
end

local function drawn_key(epoch, slice)
  return 'tg:' .. epoch .. ':d:' .. slice
end

-- Add to a field. Nothing is not added: taken away it is "-0" in Lua, which Redis refuses as a number.
local function add(key, field, amount)
  if amount ~= 0 then redis.call('HINCRBY', key, field, amount) end
end

local function charge(epoch, parts, nanos, tokens, doubtful, sign)
  for _, each in ipairs(parts) do
    local key, amount = bucket_key(epoch, each[1]), sign * (each[3] == 1 and tokens or nanos)
    add(key, 'spent', amount)
    if doubtful then add(key, 'doubt', amount) end
  end
end

local function settle(epoch, worker, attempt, nanos, tokens, doubtful)
  local packed = redis.call('HGET', holds_key(epoch, worker), attempt)
  local late = 'tg:' .. epoch .. ':x:' .. attempt
  if packed then
    local hold = cmsgpack.unpack(packed)
    redis.call('HDEL', holds_key(epoch, worker), attempt)
    for _, each in ipairs(hold[1]) do
      add(bucket_key(epoch, each[1]), 'held', -each[2])
    end
    charge(epoch, hold[1], nanos, tokens, doubtful, 1)
    if doubtful then
      redis.call('SET', late, cmsgpack.pack({hold[1], nanos, tokens}), 'EX', DOUBT_SECONDS)
    end
    return 1
  end
  local charged = redis.call('GET', late)
  if charged and not doubtful then -- the late answer replaces what was charged in doubt, never adds to it
    local doubt = cmsgpack.unpack(charged)
    charge(epoch, doubt[1], doubt[2], doubt[3], true, -1)
    charge(epoch, doubt[1], nanos, tokens, false, 1)
    redis.call('DEL', late)
    return 1
  end
  return 0
end

-- {'reserve', epoch, worker, attempt, {{bucket, base, rate, cap or -1, is tokens, expires at s}, ...},
--  {most, least, share}, note, {settled attempt, nanos, tokens, in doubt} or {}}
F['reserve'] = function(operation, now)
  local epoch, worker, attempt, asks, wish = operation[2], operation[3], operation[4], operation[5], operation[6]
  if redis.call('GET', 'tg:epoch') ~= epoch then return {-1} end
  local before = operation[8]
  if #before > 0 then settle(epoch, worker, before[1], before[2], before[3], before[4]) end
  if redis.call('HEXISTS', holds_key(epoch, worker), attempt) == 1 then return {-2} end
  local output, states = wish[1], {}
  for place, ask in ipairs(asks) do
    local known = redis.call('HMGET', bucket_key(epoch, ask[1]), 'spent', 'held')
    local spent, held = tonumber(known[1]) or 0, tonumber(known[2]) or 0
    states[place] = {spent, held}
    if ask[4] >= 0 then
      local fits = affordable(ask[4] - spent - held, ask[2], ask[3], wish[1], wish[2], wish[3])
      if fits < wish[2] then return {0, place - 1, spent, held, ask[2] + part(wish[2], ask[3])} end
      output = math.min(output, fits)
    end
  end
  local parts, left = {}, {}
  for place, ask in ipairs(asks) do
    local amount, key = ask[2] + part(output, ask[3]), bucket_key(epoch, ask[1])
    add(key, 'held', amount)
    if ask[6] > 0 then redis.call('EXPIREAT', key, ask[6]) end
    parts[place] = {ask[1], amount, ask[5]}
    left[place] = ask[4] >= 0 and ask[4] - states[place][1] - states[place][2] - amount or -1
  end
  redis.call('HSET', holds_key(epoch, worker), attempt, cmsgpack.pack({parts, output, operation[7]}))
  return {1, output, left}
end

-- Slices: see slices.py. A slice is a hold that also says what is left of it, and at first was:
-- {parts, 0, note, nanos, tokens, nanos at first, tokens at first}.

-- What a bucket counts of all its slices, as they were at first, so that they never are much of what is free.
local function count_slice(epoch, hold, sign)
  for _, each in ipairs(hold[1]) do
    add(bucket_key(epoch, each[1]), 'sliced', sign * (each[3] == 1 and hold[7] or hold[6]))
  end
end

-- {'slice', epoch, worker, slice, {{bucket, cap or -1, is tokens, expires at s}, ...}, {nanos, tokens}, least of them,
--  note, {a slice is no more than 1/n of what is free, all of a bucket's no more than 1/m}}: as much as may be
F['slice'] = function(operation, now)
  local epoch, worker, slice, asks, least = operation[2], operation[3], operation[4], operation[5], operation[7]
  if redis.call('GET', 'tg:epoch') ~= epoch then return {-1} end
  if redis.call('EXISTS', drawn_key(epoch, slice)) == 1 then return {-2} end -- it was given back before it came
  if redis.call('HEXISTS', holds_key(epoch, worker), slice) == 1 then return {-2} end
  local amounts, share, rest = {operation[6][1], operation[6][2]}, operation[9], {}
  for place, ask in ipairs(asks) do
    rest[place] = -1
    if ask[2] >= 0 then
      local known = redis.call('HMGET', bucket_key(epoch, ask[1]), 'spent', 'held', 'sliced')
      local sliced, unit = tonumber(known[3]) or 0, ask[3] + 1
      rest[place] = ask[2] - (tonumber(known[1]) or 0) - (tonumber(known[2]) or 0)
      local most = math.floor((rest[place] + sliced) / share[2]) - sliced
      amounts[unit] = math.min(amounts[unit], math.floor(rest[place] / share[1]), most)
    end
  end
  if amounts[1] < least[1] or amounts[2] < least[2] then return {0} end
  local parts, left = {}, {}
  for place, ask in ipairs(asks) do
    local amount, key = amounts[ask[3] + 1], bucket_key(epoch, ask[1])
    add(key, 'held', amount)
    if ask[4] > 0 then redis.call('EXPIREAT', key, ask[4]) end
    parts[place] = {ask[1], amount, ask[3]}
    left[place] = ask[2] >= 0 and rest[place] - amount or -1
  end
  local hold = {parts, 0, operation[8], amounts[1], amounts[2], amounts[1], amounts[2]}
  count_slice(epoch, hold, 1)
  redis.call('HSET', holds_key(epoch, worker), slice, cmsgpack.pack(hold))
  return {1, amounts[1], amounts[2], left}
end

-- Take one attempt's part out of its slice: 1 as a hold of its own, or 2 out of what a swept slice was charged in
-- doubt. 0: nobody knows the slice. What was told before takes nothing again; `spent`, when it is there, settles it.
local function draw(epoch, worker, slice, attempt, nanos, tokens, output, note, spent)
  local holds, late = holds_key(epoch, worker), 'tg:' .. epoch .. ':x:'
  local packed = redis.call('HGET', holds, slice)
  local charged = not packed and redis.call('GET', late .. slice)
  if not packed and not charged then return 0 end
  if redis.call('SADD', drawn_key(epoch, slice), attempt) == 1 then
    local whole, parts = cmsgpack.unpack(packed or charged), {}
    for place, each in ipairs(whole[1]) do
      local amount = each[3] == 1 and tokens or nanos
      each[2] = each[2] - amount
      parts[place] = {each[1], amount, each[3]}
    end
    if packed then
      whole[4], whole[5] = whole[4] - nanos, whole[5] - tokens
      redis.call('HSET', holds, slice, cmsgpack.pack(whole))
      redis.call('HSET', holds, attempt, cmsgpack.pack({parts, output, note}))
    else
      whole[2], whole[3] = whole[2] - nanos, whole[3] - tokens
      redis.call('SET', late .. slice, cmsgpack.pack(whole), 'EX', DOUBT_SECONDS)
      redis.call('SET', late .. attempt, cmsgpack.pack({parts, nanos, tokens}), 'EX', DOUBT_SECONDS)
      -- The slice's own line goes when it is closed, and its owner may die before it has written this one's.
      if #spent == 0 then
        redis.call('HSET', 'tg:' .. epoch .. ':swept', attempt, cmsgpack.pack({note, nanos, tokens}))
      end
    end
  end
  if #spent > 0 then settle(epoch, worker, attempt, spent[1], spent[2], spent[3]) end
  return packed and 1 or 2
end

-- {'draws', epoch, worker, {{slice, attempt, nanos, tokens, output, note, {nanos, tokens, in doubt} or {}}, ...}}
F['draws'] = function(operation, now)
  if redis.call('GET', 'tg:epoch') ~= operation[2] then return -1 end
  local done = {}
  for place, each in ipairs(operation[4]) do done[place] = draw(operation[2], operation[3], unpack(each)) end
  return done
end

-- {'close', epoch, worker, slice}: what is left of it is free again. 2: it had been swept, and is charged no more.
-- Only its owner says this, once the store has answered for all that was drawn.
F['close'] = function(operation, now)
  local epoch, worker, slice = operation[2], operation[3], operation[4]
  if redis.call('GET', 'tg:epoch') ~= epoch then return -1 end
  local packed, answer = redis.call('HGET', holds_key(epoch, worker), slice), 0
  if packed then
    local hold = cmsgpack.unpack(packed)
    redis.call('HDEL', holds_key(epoch, worker), slice)
    for _, each in ipairs(hold[1]) do add(bucket_key(epoch, each[1]), 'held', -each[2]) end
    count_slice(epoch, hold, -1)
    answer = 1
  elseif redis.call('EXISTS', 'tg:' .. epoch .. ':x:' .. slice) == 1 then
    settle(epoch, worker, slice, 0, 0, false)
    answer = 2
  end
  redis.call('SADD', drawn_key(epoch, slice), 'closed') -- a request for it that was long under way finds this
  redis.call('EXPIRE', drawn_key(epoch, slice), 3600)
  return answer
end

-- {'settle', epoch, worker, attempt, nanos, tokens, in doubt}
F['settle'] = function(operation, now)
  if redis.call('GET', 'tg:epoch') ~= operation[2] then return -1 end
  return settle(operation[2], operation[3], operation[4], operation[5], operation[6], operation[7])
end

-- {'beat', worker, lease in ms}
F['beat'] = function(operation, now)
  redis.call('ZADD', 'tg:workers', now + operation[3], operation[2])
  return redis.call('GET', 'tg:epoch') or ''
end

-- {'dead', epoch}: workers whose lease is over
F['dead'] = function(operation, now)
  return redis.call('ZRANGEBYSCORE', 'tg:workers', '-inf', now)
end

-- {'sweep', epoch, worker, how many}: a dead worker's holds become doubts, charged in full; their notes wait in
-- 'swept' until they are booked, so that a sweeper that dies between the two leaves nothing behind.
F['sweep'] = function(operation, now)
  local epoch, worker = operation[2], operation[3]
  local score = redis.call('ZSCORE', 'tg:workers', worker)
  if score and tonumber(score) > now then return 0 end -- it lives after all
  local holds = redis.call('HGETALL', holds_key(epoch, worker))
  local swept = 0
  for place = 1, #holds, 2 do
    if swept == operation[4] then return swept end
    local attempt, hold = holds[place], cmsgpack.unpack(holds[place + 1])
    if string.sub(worker, 1, 5) == 'lost:' then -- stood in for a worker whose own lines are booked by now
      settle(epoch, worker, attempt, 0, 0, false)
    else
      local nanos, tokens = hold[4], hold[5] -- of a slice what is left, whatever was drawn of it and not yet told
      if nanos then
        count_slice(epoch, hold, -1)
        redis.call('EXPIRE', drawn_key(epoch, attempt), DOUBT_SECONDS)
      else
        local note = cjson.decode(hold[3])
        nanos, tokens = note.base + part(hold[2], note.rate), note.input + hold[2]
      end
      settle(epoch, worker, attempt, nanos, tokens, true)
      redis.call('HSET', 'tg:' .. epoch .. ':swept', attempt, cmsgpack.pack({hold[3], nanos, tokens}))
    end
    swept = swept + 1
  end
  redis.call('ZREM', 'tg:workers', worker)
  return swept
end

-- {'swept', epoch}: what has to be booked; {'booked', epoch, {attempt, ...}}: what has been
F['swept'] = function(operation, now)
  local found = {}
  local waiting = redis.call('HGETALL', 'tg:' .. operation[2] .. ':swept')
  for place = 1, #waiting, 2 do found[#found + 1] = {waiting[place], cmsgpack.unpack(waiting[place + 1])} end
  return found
end

F['booked'] = function(operation, now)
  for _, attempt in ipairs(operation[3]) do redis.call('HDEL', 'tg:' .. operation[2] .. ':swept', attempt) end
  return 1
end

-- {'load', epoch, {{bucket, spent, doubt, expires at s}, ...}}: where less is known. What is booked already of a dead
-- worker's hold, which nobody has swept yet, is held: so only what is more than both is missing here.
F['load'] = function(operation, now)
  for _, each in ipairs(operation[3]) do
    local key = bucket_key(operation[2], each[1])
    local known = redis.call('HMGET', key, 'spent', 'doubt', 'held')
    if each[2] > (tonumber(known[1]) or 0) + (tonumber(known[3]) or 0) then
      redis.call('HSET', key, 'spent', each[2], 'doubt', math.max(each[3], tonumber(known[2]) or 0))
      if each[4] > 0 then redis.call('EXPIREAT', key, each[4]) end
    end
  end
  return 1
end

-- {'restore', epoch, worker, {{attempt, {{bucket, amount, is tokens}, ...}, output, note}, ...}}: a hold asserted again
F['restore'] = function(operation, now)
  local epoch, worker = operation[2], operation[3]
  for _, each in ipairs(operation[4]) do
    if redis.call('HEXISTS', holds_key(epoch, worker), each[1]) == 0 then
      for _, one in ipairs(each[2]) do add(bucket_key(epoch, one[1]), 'held', one[2]) end
      redis.call('HSET', holds_key(epoch, worker), each[1], cmsgpack.pack({each[2], each[3], each[4]}))
    end
  end
  return 1
end

-- {'open', epoch}: the rebuilt store is in force
F['open'] = function(operation, now)
  redis.call('SET', 'tg:epoch', operation[2])
  return 1
end

-- {'sums', epoch, {bucket, ...}}
F['sums'] = function(operation, now)
  local found = {}
  for place, name in ipairs(operation[3]) do
    local known = redis.call('HMGET', bucket_key(operation[2], name), 'spent', 'held', 'doubt')
    found[place] = {tonumber(known[1]) or 0, tonumber(known[2]) or 0, tonumber(known[3]) or 0}
  end
  return found
end

-- {'lower', epoch, bucket, spent as seen, spent as booked, doubt as booked}: where nothing has moved meanwhile
F['lower'] = function(operation, now)
  local key = bucket_key(operation[2], operation[3])
  local known = redis.call('HMGET', key, 'spent', 'held')
  if (tonumber(known[1]) or 0) ~= operation[4] or (tonumber(known[2]) or 0) ~= 0 then return 0 end
  redis.call('HSET', key, 'spent', operation[5], 'doubt', operation[6])
  return 1
end

-- {'correct', epoch, number, {{bucket, amount, least}, ...}}: calls were priced anew; once for each number
F['correct'] = function(operation, now)
  if redis.call('GET', 'tg:epoch') ~= operation[2] then return -1 end
  if redis.call('SADD', 'tg:' .. operation[2] .. ':corrected', operation[3]) == 0 then return 0 end
  for _, each in ipairs(operation[4]) do
    local key = bucket_key(operation[2], each[1])
    local spent = tonumber(redis.call('HGET', key, 'spent')) or 0
    local down = math.min(each[2], spent - each[3])
    if down > 0 then add(key, 'spent', -down) end
  end
  return 1
end
