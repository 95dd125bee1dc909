#!lua name=portal
-- The decision: one call decides and reserves on every limit, atomically. Valkey runs one function at a time, so
-- nothing here races with anything else. Everything it keeps is derived from Postgres or from open reservations.
--
-- Keys (all on one primary):
--   meta          {epoch, configuration version}; absent after a loss of data: then nothing is decided. It expires
--                 within seconds unless somebody renews it who has read in Postgres that Valkey still decides
--   opened        the epoch that was opened last: only while it is there can its lease be renewed
--   s:ID  p:PK  w:ID   credential, project, gateway       d:KEY   a deny mark: code|version it waits for
--   n:PK          the users of a project by e-mail, for keys that name their user ('' -> version)
--   l:SCOPE       the limits of a scope                   k:SCOPE|METRIC|WINDOW|MODEL  a counter
--   r:GATEWAY:H   a reservation, later its tombstone      x       open reservations by expiry
--   a:SEQ         a usage row already counted             refused refusals on their way to Postgres
--   seen          last use: ID, of its previous secret ID~ -> seconds|gateway|address   cfg, cfgv  the configuration and its version
--   rebuilding    the epoch of a rebuild under way
--   watch, watched  who is about to publish new limits, and the usage rows counted meanwhile
--
-- Amounts are pairs (hi, lo) with hi * 1e9 + lo, 0 <= lo < 1e9: Lua numbers are doubles, exact only to 2^53, and
-- sums must stay exact to 1e21 nano-units.
--
-- Counters: calendar {start, settled hi, lo, reserved hi, lo, seq, xmax, xips} · minute {start, this, previous, seq}
-- · concurrency {count, seq}. (xmax, xips) is the Postgres snapshot the settled amount was read from: usage which
-- that snapshot has seen is already in it.

local BASE = 1000000000
-- Memory only: a server that restarted has no epoch and decides nothing before a rebuild has re-read the record.
local epoch = false

local function add(ah, al, bh, bl)
  local h, l = ah + bh, al + bl
  if l >= BASE then h = h + 1; l = l - BASE elseif l < 0 then h = h - 1; l = l + BASE end
  return h, l
end

local function above(ah, al, bh, bl)
  return ah > bh or (ah == bh and al > bl)
end

local function milliseconds(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function meta()
  if not epoch then return nil end
  local packed = redis.call('GET', 'meta')
  if not packed then return nil end
  local m = cmsgpack.unpack(packed)
  if m[1] ~= epoch then return nil end
  return m
end

-- Without a model (`explain` for the holder of a credential) every filter applies.
local function matches(filter, model)
  if filter == '' or filter == model or model == '' then return true end
  local n = #filter
  return string.byte(filter, n) == 42 and string.sub(model, 1, n - 1) == string.sub(filter, 1, n - 1)
end

local function listed(list, model)
  if not list then return true end
  for i = 1, #list do if matches(list[i], model) then return true end end
  return false
end

local function digest_matches(pepper, digest, peppers, digests)
  -- Both sides are HMACs under a secret pepper: their comparison tells an attacker nothing about the secret.
  local i = 0
  for number in string.gmatch(peppers, '%d+') do
    if tonumber(number) == pepper and string.sub(digests, i * 64 + 1, i * 64 + 64) == digest then return true end
    i = i + 1
  end
  return false
end

-- Which secret of a credential it is: '' the current one, '~' the previous one while both are valid, else nil.
local function secret_of(s, peppers, digests, now)
  if digest_matches(s[2], s[3], peppers, digests) then return '' end
  if s[14] and now < s[16] * 1000 and digest_matches(s[14], s[15], peppers, digests) then return '~' end
  return nil
end

-- A key that may name its user: the call is that person's. False when there is no such user, or more than one.
local function name_user(s, user)
  if s[17] ~= 1 or user == '' then return true end
  local packed = redis.call('HGET', 'n:' .. s[7], user)
  if not packed then return false end
  local named = cmsgpack.unpack(packed)
  s[8], s[13] = named[1], named[2]
  return true
end

-- The limits that apply to a call, each with the scope whose counter it uses. A row that names a user replaces the
-- general row with the same metric, window and model.
local function gather(call)
  local keys, scopes = {'l:o'}, {'o'}
  local function want(set, counter) keys[#keys + 1] = 'l:' .. set; scopes[#scopes + 1] = counter end
  if call.group ~= 0 then want('g:' .. call.group, 'g:' .. call.group) end
  local p = 'p:' .. call.project
  want(p, p)
  if call.draws ~= 0 then
    local pg = 'pg:' .. call.project .. ':' .. call.draws
    want(pg, pg)
  end
  if call.person ~= 0 then
    local pu, u = 'pu:' .. call.project .. ':' .. call.person, 'u:' .. call.person
    want(pu, pu); want('pu:' .. call.project .. ':*', pu); want(u, u); want('u:*', u)
  end
  want('c:' .. call.credential, 'c:' .. call.credential)
  local packed = redis.call('MGET', unpack(keys))
  local limits, named = {}, {}
  for i = 1, #keys do
    if packed[i] then
      local set = cmsgpack.unpack(packed[i])
      for _, l in ipairs(set[3]) do
        if matches(l[3], call.model) then
          local name = scopes[i] .. '|' .. l[1] .. '|' .. l[2] .. '|' .. l[3]
          if not named[name] then
            named[name] = true
            limits[#limits + 1] = {scope = scopes[i], set = string.sub(keys[i], 3), label = set[2], metric = l[1],
              window = l[2], model = l[3], enforce = l[4] == 'enforce', hi = l[5], lo = l[6], key = 'k:' .. name}
          end
        end
      end
    end
  end
  return limits
end

local function fresh(window, start)
  if window == 'minute' then return {start, 0, 0, 0} end
  if window == 'none' then return {0, 0} end
  return {start, 0, 0, 0, 0, 0, false, false}
end

-- Bring a counter to the window that begins at start; a window that has ended is no longer read.
local function turn(counter, window, start)
  if not counter then return fresh(window, start) end
  if window == 'none' or counter[1] >= start then return counter end
  if window == 'minute' then
    return {start, 0, counter[1] == start - 60 and counter[2] or 0, counter[4] + 1}
  end
  return {start, 0, 0, 0, 0, counter[6] + 1, false, false}
end

local function asked(metric, amount)
  if metric == 'spend' then return amount[1], amount[2] end
  if metric == 'tokens' then return amount[3], amount[4] end
  return 0, 1
end

local function load_counters(limits, starts)
  if #limits == 0 then return end
  local keys = {}
  for i, l in ipairs(limits) do keys[i] = l.key end
  local packed = redis.call('MGET', unpack(keys))
  for i, l in ipairs(limits) do
    l.counter = turn(packed[i] and cmsgpack.unpack(packed[i]), l.window, starts[l.window] or 0)
    -- A clock that stepped back finds a later window: what is held must name the window it is held in.
    l.start = l.window == 'none' and 0 or l.counter[1]
  end
end

-- Whether there is room, and for a sliding minute when there will be: (room, used hi, lo, reserved hi, lo, reset s).
local function room(l, ah, al, now, ends)
  local c = l.counter
  if l.window == 'none' then
    return c[1] + 1 <= l.hi * BASE + l.lo, 0, 0, 0, c[1], 0
  end
  if l.window == 'minute' then
    local limit, want, passed = l.hi * BASE + l.lo, ah * BASE + al, now - c[1] * 1000
    local used = c[2] + math.ceil(c[3] * (60000 - passed) / 60000)
    local reset = 0
    if want <= limit and used + want > limit then
      if c[2] + want <= limit then
        reset = c[1] + 60 * (1 - (limit - want - c[2]) / c[3])
      else
        reset = c[1] + 60 + 60 * (1 - (limit - want) / c[2])
      end
      reset = math.ceil(math.max(reset, now / 1000 + 0.001))
    end
    if reset == 0 then reset = c[1] + 60 end
    return used + want <= limit, math.floor(used / BASE), used % BASE, 0, 0, reset
  end
  local th, tl = add(c[2], c[3], c[4], c[5])
  th, tl = add(th, tl, ah, al)
  return not above(th, tl, l.hi, l.lo), c[2], c[3], c[4], c[5], ends[l.window]
end

local function report(limits, amount, now, ends)
  local failed, observed, rows = false, false, {}
  for i, l in ipairs(limits) do
    local ah, al = asked(l.metric, amount)
    local ok, uh, ul, rh, rl, reset = room(l, ah, al, now, ends)
    if not ok then if l.enforce then failed = true else observed = true end end
    rows[i] = {l.scope, l.metric, l.window, l.model, l.label, l.hi, l.lo, uh, ul, rh, rl, ah, al, reset,
      ok and 1 or 0, l.enforce and 1 or 0, l.set}
  end
  return rows, failed, observed
end

local function hold(l, ah, al, sign)
  local c = l.counter
  if l.window == 'none' then
    c[1] = math.max(0, c[1] + sign); c[2] = c[2] + 1
  elseif l.window == 'minute' then
    c[2] = c[2] + sign * (ah * BASE + al); c[4] = c[4] + 1
  else
    c[4], c[5] = add(c[4], c[5], sign * ah, sign * al); c[6] = c[6] + 1
  end
end

local function store(limits)
  if #limits == 0 then return end
  local pairs_ = {}
  for _, l in ipairs(limits) do pairs_[#pairs_ + 1] = l.key; pairs_[#pairs_ + 1] = cmsgpack.pack(l.counter) end
  redis.call('MSET', unpack(pairs_))
end

local function record_of(key)
  local packed = redis.call('GET', key)
  return packed and cmsgpack.unpack(packed)
end

-- Reservation: {state, fingerprint, moment ms, expires ms, group, project, person, draws, credential, model, price,
-- spend hi, lo, tokens hi, lo, counters {{key, window, start, metric}}, request id, gateway}
local function keep(key, r, seconds)
  if seconds then redis.call('SET', key, cmsgpack.pack(r), 'EX', seconds)
  else redis.call('SET', key, cmsgpack.pack(r)) end
end

local function call_of(r)
  return {group = r[5], project = r[6], person = r[7], draws = r[8], credential = r[9], model = r[10]}
end

-- Take the reservation off every counter it holds. In a sliding minute the calls and tokens that were really used
-- stay: used is {calls, tokens} or nil when the call was never sent.
local function let_go(r, used)
  local amount = {r[12], r[13], r[14], r[15]}
  for _, held in ipairs(r[16]) do
    local key, window, start, metric = held[1], held[2], held[3], held[4]
    local packed = redis.call('GET', key)
    if packed then
      local c = cmsgpack.unpack(packed)
      local ah, al = asked(metric, amount)
      if window == 'none' then
        c[1] = math.max(0, c[1] - 1); c[2] = c[2] + 1
      elseif window == 'minute' then
        local less = ah * BASE + al
        if used then less = less - (metric == 'tokens' and used[2] or used[1]) end
        if c[1] == start then c[2] = math.max(0, c[2] - less)
        elseif c[1] == start + 60 then c[3] = math.max(0, c[3] - less) end
        c[4] = c[4] + 1
      elseif c[1] == start then
        c[4], c[5] = add(c[4], c[5], -ah, -al); c[6] = c[6] + 1
      end
      redis.call('SET', key, cmsgpack.pack(c))
    end
  end
end

local function refuse_credential(d, s, now)
  if d then return string.match(d, '^[^|]*') end
  if s[5] ~= 'active' then return 'credential_' .. s[5] end
  if s[6] ~= 0 and s[6] * 1000 <= now then return 'credential_expired' end
  return nil
end

local function address_allowed(networks, bits)
  if not networks then return true end
  if bits == '' then return false end
  for i = 1, #networks do if string.sub(bits, 1, #networks[i]) == networks[i] then return true end end
  return false
end

-- The checks before limits, in the order of the contract: the first that fails is the answer.
local function checks(id, model, priced, bits, now, user)
  local got = redis.call('MGET', 's:' .. id, 'd:s:' .. id)
  if not got[1] then return 'credential_unknown' end
  local s = cmsgpack.unpack(got[1])
  local code = refuse_credential(got[2], s, now)
  if code then return code, s end
  if s[10] ~= 1 or not name_user(s, user) then return 'not_a_member', s end
  if not address_allowed(s[12], bits) then return 'address_not_allowed', s end
  got = redis.call('MGET', 'p:' .. s[7], 'd:p:' .. s[7])
  local p = got[1] and cmsgpack.unpack(got[1])
  if got[2] or not p or p[2] ~= 'active' then return 'project_inactive', s, p end
  if not listed(p[4], model) or not listed(s[11], model) then return 'model_not_allowed', s, p end
  if not priced then return 'model_unpriced', s, p end
  return nil, s, p
end

local function gateway_known(id, peppers, digests)
  local got = redis.call('MGET', 'w:' .. id, 'd:w:' .. id)
  if not got[1] or got[2] then return nil end
  local w = cmsgpack.unpack(got[1])
  if w[4] ~= 'active' or not digest_matches(w[2], w[3], peppers, digests) then return nil end
  return w
end

local function serves(w, project)
  if not w[5] then return true end
  for i = 1, #w[5] do if w[5][i] == project then return true end end
  return false
end

local function log_refusal(max, entry)
  redis.call('XADD', 'refused', 'MAXLEN', '~', max, '*', 'd', cjson.encode(entry))
end

-- ARGV: 1 now ms or '' · 2 configuration version · 3-8 start and end of day, week, month · 9 gateway id · 10 pepper
-- numbers · 11 gateway digests · 12 credential id · 13 credential digests · 14 reservation key · 15 request id ·
-- 16 fingerprint · 17 model · 18 price id, 0 = unpriced · 19-20 spend · 21-22 tokens · 23 address bits · 24 TTL ms ·
-- 25 decision id · 26 length of the refusal stream · 27 address · 28 user
local function authorize(_, A)
  local m = meta()
  if not m then return {'rebuild'} end
  local now = milliseconds(A[1])
  local w = gateway_known(A[9], A[10], A[11])
  if not w then return {'no', 'gateway_unknown'} end
  if m[2] ~= tonumber(A[2]) then return {'config', m[2], now} end
  local starts, ends = {}, {}
  for i, name in ipairs({'day', 'week', 'month'}) do
    starts[name], ends[name] = tonumber(A[1 + 2 * i]), tonumber(A[2 + 2 * i])
    if now < starts[name] * 1000 or now >= ends[name] * 1000 then return {'clock', m[2], now} end
  end
  starts.minute = math.floor(now / 60000) * 60
  local priced = A[18] ~= '0'
  local code, s, p = checks(A[12], A[17], priced, A[23], now, A[28])
  local which = s and secret_of(s, A[10], A[13], now)
  if not which then code, s, p = 'credential_unknown', nil, nil end
  if not code and not serves(w, s[7]) then code = 'project_inactive' end
  local refusal = {id = A[25], at = now, gateway = A[9], request = A[15], credential = s and A[12] or '', model = A[17],
    project = s and s[7] or 0, group = p and p[3] or 0, person = s and s[8] or 0, hi = A[19], lo = A[20]}
  if s then redis.call('HSET', 'seen', A[12] .. which, math.floor(now / 1000) .. '|' .. A[9] .. '|' .. A[27]) end
  if code then
    refusal.code = code
    log_refusal(A[26], refusal)
    return {'no', code}
  end
  local old = record_of(A[14])
  if old then
    if old[1] == 'open' and old[2] == A[16] and old[4] > now then
      local limits = gather(call_of(old))
      load_counters(limits, starts)
      local rows = report(limits, {0, 0, 0, 0}, now, ends)
      return {'ok', now, old[3], old[4], old[5], old[6], old[7], old[8], old[11], old[12], old[13], old[14], old[15],
        p[6], s[13], cmsgpack.pack(rows)}
    end
    return {'no', 'request_id_reused'}
  end
  local call = {group = p[3], project = s[7], person = s[8], draws = s[9], credential = A[12], model = A[17]}
  local amount = {tonumber(A[19]), tonumber(A[20]), tonumber(A[21]), tonumber(A[22])}
  local limits = gather(call)
  load_counters(limits, starts)
  local rows, failed, observed = report(limits, amount, now, ends)
  if failed or observed then
    refusal.code = 'limit_exceeded'
    refusal.observed = not failed
    refusal.checks = rows
    log_refusal(A[26], refusal)
    if failed then return {'no', 'limit_exceeded', now, cmsgpack.pack(rows), p[5], p[6]} end
  end
  local held = {}
  for i, l in ipairs(limits) do
    local ah, al = asked(l.metric, amount)
    hold(l, ah, al, 1)
    held[i] = {l.key, l.window, l.start, l.metric}
    rows[i][10], rows[i][11] = add(rows[i][10], rows[i][11], ah, al)
  end
  store(limits)
  local expires = now + tonumber(A[24])
  keep(A[14], {'open', A[16], now, expires, call.group, call.project, call.person, call.draws, call.credential,
    call.model, tonumber(A[18]), amount[1], amount[2], amount[3], amount[4], held, A[15], A[9]})
  redis.call('ZADD', 'x', expires, A[14])
  return {'ok', now, now, expires, call.group, call.project, call.person, call.draws, tonumber(A[18]), amount[1],
    amount[2], amount[3], amount[4], p[6], s[13], cmsgpack.pack(rows)}
end

-- What would decide, without deciding. ARGV: 1 now · 2 configuration version · 3-8 windows · 9 credential id ·
-- 10 pepper numbers · 11 digests, or '' to trust the caller · 12 model · 13 price id · 14-15 spend · 16-17 tokens
local function explain(_, A)
  local m = meta()
  if not m then return {'rebuild'} end
  local now = milliseconds(A[1])
  if m[2] ~= tonumber(A[2]) then return {'config', m[2], now} end
  local starts, ends = {minute = math.floor(now / 60000) * 60}, {}
  for i, name in ipairs({'day', 'week', 'month'}) do
    starts[name], ends[name] = tonumber(A[1 + 2 * i]), tonumber(A[2 + 2 * i])
    if now < starts[name] * 1000 or now >= ends[name] * 1000 then return {'clock', m[2], now} end
  end
  local got = redis.call('GET', 's:' .. A[9])
  local s = got and cmsgpack.unpack(got)
  if not s or (A[11] ~= '' and not secret_of(s, A[10], A[11], now)) then return {'no', 'credential_unknown', now} end
  local code, _, p = checks(A[9], A[12], A[13] ~= '0', A[18] or '', now, '')
  local call = {group = p and p[3] or 0, project = s[7], person = s[8], draws = s[9], credential = A[9], model = A[12]}
  local limits = gather(call)
  load_counters(limits, starts)
  local rows, failed = report(limits, {tonumber(A[14]), tonumber(A[15]), tonumber(A[16]), tonumber(A[17])}, now, ends)
  if not code and failed then code = 'limit_exceeded' end
  return {'ok', code or 'allow', now, cmsgpack.pack(rows), p and p[6] or '', s[13]}
end

-- ARGV: 1 gateway id · 2 pepper numbers · 3 digests -> the server's time and the configuration version, or refused
local function gateway(_, A)
  local m = meta()
  if not m then return {'rebuild'} end
  local w = gateway_known(A[1], A[2], A[3])
  if not w then return {'no', 'gateway_unknown'} end
  redis.call('HSET', 'seen', A[1], math.floor(milliseconds('') / 1000) .. '||')
  return {'ok', milliseconds(''), m[2]}
end

-- ARGV: reservation keys -> what is known of each: false, or {state, moment ms, group, project, person, draws,
-- credential, model, price, spend hi, lo, expires ms}
local function lookup(_, A)
  if not meta() then return {'rebuild'} end
  local rows = {'ok'}
  for i = 1, #A do
    local r = record_of(A[i])
    rows[i + 1] = r and {r[1], r[3], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[4]} or false
  end
  return rows
end

local function seen_by(counter, xid)
  local xmax, xips = counter[7], counter[8]
  if not xmax or xid >= xmax then return false end
  for i = 1, #xips do if xips[i] == xid then return false end end
  return true
end

-- Add one usage row to the counter of one limit. A row whose window has ended, or that the snapshot behind the
-- counter has seen, changes nothing.
local function book(l, e, starts)
  local packed = redis.call('GET', l.key)
  local start = starts[l.window]
  local c = turn(packed and cmsgpack.unpack(packed), l.window, start)
  local ah, al = e[5], e[6]
  if l.metric == 'tokens' then ah, al = e[8], e[9]
  elseif l.metric == 'requests' then ah, al = add(0, 0, 0, e[7]) end
  if l.window == 'minute' then
    local value = ah * BASE + al
    if c[1] == start then c[2] = math.max(0, c[2] + value)
    elseif c[1] == start + 60 then c[3] = math.max(0, c[3] + value) end
    c[4] = c[4] + 1
  elseif c[1] == start and not seen_by(c, e[2]) then
    c[2], c[3] = add(c[2], c[3], ah, al)
    c[6] = c[6] + 1
  else
    return
  end
  redis.call('SET', l.key, cmsgpack.pack(c))
end

local function row_limits(e)
  return gather({group = e[10], project = e[11], person = e[12], draws = e[13], credential = e[14], model = e[15]}),
    {day = e[16], week = e[17], month = e[18], minute = math.floor(e[4] / 60) * 60}
end

-- Count usage rows that Postgres has committed, each once. ARGV: 1 seconds a tombstone is kept · then JSON arrays:
-- {seq, xid, reservation key or '', moment s, spend hi, lo, calls, tokens hi, lo, group, project, person, draws,
-- credential, model, day start, week start, month start}
local function settle(_, A)
  if not meta() then return {'rebuild'} end
  local answers, is_watched = {'ok'}, redis.call('EXISTS', 'watch') == 1
  for n = 2, #A do
    local e = cjson.decode(A[n])
    local mark = 'a:' .. string.format('%.0f', e[1])
    local answer = 'seen'
    if redis.call('SET', mark, '1', 'NX', 'EX', 604800) then
      answer = 'counted'
      if is_watched then redis.call('RPUSH', 'watched', A[n]) end
      local r = e[3] ~= '' and record_of(e[3])
      local was_open = r and r[1] == 'open'
      if was_open then
        let_go(r, {e[7], e[8] * BASE + e[9]})
        r[1] = 'settled'
        r[16] = {}
        keep(e[3], r, A[1])
        redis.call('ZREM', 'x', e[3])
        answer = 'settled'
      end
      local limits, starts = row_limits(e)
      for _, l in ipairs(limits) do
        -- In a sliding minute the used part of a reservation has stayed where it was held.
        if l.window ~= 'none' and not (l.window == 'minute' and was_open) then book(l, e, starts) end
      end
    end
    answers[n] = answer
  end
  if is_watched then redis.call('EXPIRE', 'watched', 60) end
  return answers
end

-- The rows have left the inbox: nobody will report them again but a process that was held up. ARGV: 1 seconds · seqs
local function moved(_, A)
  for n = 2, #A do redis.call('EXPIRE', 'a:' .. A[n], A[1]) end
  return {'ok'}
end

-- Give a reservation back. ARGV: 1 reservation key · 2 seconds a tombstone is kept
local function release(_, A)
  if not meta() then return {'rebuild'} end
  local r = record_of(A[1])
  if r and r[1] == 'open' then
    let_go(r, nil)
    r[1] = 'released'
    r[16] = {}
    keep(A[1], r, A[2])
    redis.call('ZREM', 'x', A[1])
  end
  return {'ok'}
end

-- Renew a reservation. ARGV: 1 reservation key · 2 TTL ms · 3 now or ''
local function extend(_, A)
  if not meta() then return {'rebuild'} end
  local now = milliseconds(A[3])
  local r = record_of(A[1])
  if not r or r[1] ~= 'open' or r[4] <= now then return {'no', 'reservation_closed'} end
  r[4] = now + tonumber(A[2])
  keep(A[1], r)
  redis.call('ZADD', 'x', r[4], A[1])
  return {'ok', r[4]}
end

-- Reservations that have expired. ARGV: 1 now or '' · 2 how many
local function due(_, A)
  if not meta() then return {'rebuild'} end
  local rows = {'ok'}
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', 'x', '-inf', milliseconds(A[1]), 'LIMIT', 0, A[2])) do
    local r = record_of(key)
    if r and r[1] == 'open' then
      rows[#rows + 1] = {key, r[18], r[17], r[3], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14],
        r[15], r[4]}
    else
      redis.call('ZREM', 'x', key)
    end
  end
  return rows
end

local function pack_subject(key, version, d)
  local kind = string.sub(key, 1, 1)
  if kind == 's' then
    return {version, d.pepper, d.digest, d.kind, d.state, d.expires or 0, d.project, d.person or 0, d.draws_on or 0,
      d.is_member and 1 or 0, d.models or false, d.networks or false, d.user or '',
      d.previous and d.previous[1] or false, d.previous and d.previous[2] or '', d.previous and d.previous[3] or 0,
      d.names_users and 1 or 0}
  elseif kind == 'p' then
    return {version, d.state, d.group or 0, d.models or false, d.name, d.code}
  end
  return {version, d.pepper, d.digest, d.state, d.projects or false, d.name}
end

local function newer(key, version)
  if string.sub(key, 1, 2) == 'n:' then
    local held = redis.call('HGET', key, '')
    return not held or tonumber(held) < version
  end
  local old = record_of(key)
  return not old or old[1] < version
end

local function decode(text)
  local d = cjson.decode(text)
  for name, value in pairs(d) do if value == cjson.null then d[name] = nil end end
  return d
end

local function mark_version(mark)
  return mark and tonumber(string.match(mark, '|(%d+)$')) or 0
end

local function put_users(key, version, d)
  redis.call('DEL', key)
  redis.call('HSET', key, '', version)
  for user, named in pairs(d.users) do redis.call('HSET', key, user, cmsgpack.pack(named)) end
end

-- Write subjects; an older version never replaces a newer one. A deny mark goes when the version it was set for, or
-- a later one, has come. ARGV: triples of key, version, JSON
local function put(_, A)
  for n = 1, #A, 3 do
    local version, mark = tonumber(A[n + 1]), 'd:' .. A[n]
    if newer(A[n], version) then
      local d = decode(A[n + 2])
      if string.sub(A[n], 1, 2) == 'n:' then put_users(A[n], version, d)
      else redis.call('SET', A[n], cmsgpack.pack(pack_subject(A[n], version, d))) end
      local held = redis.call('GET', mark)
      if held and mark_version(held) <= version then redis.call('DEL', mark) end
    end
  end
  return {'ok'}
end

-- Lift deny marks after a change that did not happen, but no mark of a later change. ARGV: pairs of key and the
-- version the change would have had
local function undeny(_, A)
  for n = 1, #A, 2 do
    local mark = redis.call('GET', 'd:' .. A[n])
    if mark_version(mark) == tonumber(A[n + 1]) then redis.call('DEL', 'd:' .. A[n]) end
  end
  return {'ok'}
end

-- ARGV: 1 version · 2 JSON. An older version never replaces a newer one, also while nothing is decided.
local function put_configuration(_, A)
  local version = tonumber(A[1])
  local held = redis.call('GET', 'cfgv')
  if held and tonumber(held) >= version then return {'ok'} end
  redis.call('MSET', 'cfg', A[2], 'cfgv', A[1])
  local packed = redis.call('GET', 'meta')
  if packed then
    local m = cmsgpack.unpack(packed)
    m[2] = version
    redis.call('SET', 'meta', cmsgpack.pack(m), 'KEEPTTL')
  end
  return {'ok'}
end

-- Hold what open reservations hold on the counters for which `wanted(limit, is held there)` says so. With `anew` what
-- they held before counts for nothing: all counters are new.
local function recount(wanted, anew, from, to, starts)
  local count = 0
  for _, key in ipairs(redis.call('ZRANGE', 'x', from, to)) do
    local r = record_of(key)
    if r and r[1] == 'open' then
      count = count + 1
      if anew then r[16] = {} end
      local has = {}
      for _, held in ipairs(r[16]) do has[held[1]] = held end
      local amount, touched = {r[12], r[13], r[14], r[15]}, {}
      local moment = math.floor(r[3] / 1000)
      for _, l in ipairs(gather(call_of(r))) do
        if wanted(l, has[l.key] ~= nil) then
          local packed = redis.call('GET', l.key)
          local start = l.window == 'minute' and math.floor(moment / 60) * 60 or starts[l.window] or 0
          l.counter = turn(packed and cmsgpack.unpack(packed), l.window, start)
          if l.window == 'none' or (moment >= start and l.counter[1] == start) then
            local ah, al = asked(l.metric, amount)
            hold(l, ah, al, 1)
            if has[l.key] then has[l.key][3] = start
            else r[16][#r[16] + 1] = {l.key, l.window, start, l.metric} end
            touched[#touched + 1] = l
          end
        end
      end
      store(touched)
      if anew or #touched > 0 then keep(key, r) end
    end
  end
  return count
end

local function pack_limits(version, d)
  local list = {}
  for i, l in ipairs(d.limits) do list[i] = {l[1], l[2], l[3], l[4], l[5], l[6]} end
  return {version, d.label, list}
end

-- From now on usage rows that are counted are kept until the limits have been put: the snapshot that their settled
-- amounts are read from may not have seen them. ARGV: 1 who
local function watch(_, A)
  if not meta() then return {'rebuild'} end
  redis.call('SADD', 'watch', A[1])
  redis.call('EXPIRE', 'watch', 60)
  return {'ok'}
end

local function unwatch(_, A)
  redis.call('SREM', 'watch', A[1])
  if redis.call('EXISTS', 'watch') == 0 then redis.call('DEL', 'watched') end
  return {'ok'}
end

-- Publish the limits of a scope. A limit that is new starts with what its window has settled (read from Postgres in
-- the snapshot given, and counted since) and what open reservations hold. The counter of a limit that is gone stays
-- for a while: open reservations still hold on it. ARGV: 1 scope key · 2 version · 3 JSON {label, limits} ·
-- 4 JSON {{counter key, start, hi, lo}} · 5 JSON {xmax, {xips}} · 6-8 start of day, week, month · 9 who watches
local function put_limits(_, A)
  if not meta() then return {'rebuild'} end
  local key, version = 'l:' .. A[1], tonumber(A[2])
  if not newer(key, version) then return {'ok', 0} end
  if redis.call('SISMEMBER', 'watch', A[9]) == 0 then return {'again'} end
  local old, had, now_has = record_of(key), {}, {}
  for _, l in ipairs(old and old[3] or {}) do had[l[1] .. '|' .. l[2] .. '|' .. l[3]] = true end
  local d = decode(A[3])
  local added = false
  for _, l in ipairs(d.limits) do
    local name = l[1] .. '|' .. l[2] .. '|' .. l[3]
    now_has[name] = true
    if not had[name] then added = true end
  end
  for name in pairs(had) do
    if not now_has[name] and not string.find(A[1], '^p?u:') then
      redis.call('EXPIRE', 'k:' .. A[1] .. '|' .. name, 3024000)
    end
  end
  redis.call('SET', key, cmsgpack.pack(pack_limits(version, d)))
  if not added then return {'ok', 1} end
  local snapshot, reset = cjson.decode(A[5]), {}
  for _, c in ipairs(cjson.decode(A[4])) do
    if not had[string.match(c[1], '^k:[^|]*|(.*)$')] then
      reset[c[1]] = true
      redis.call('SET', c[1], cmsgpack.pack({c[2], c[3], c[4], 0, 0, 0, snapshot[1], snapshot[2]}))
    end
  end
  local function is_new(l)
    return reset[l.key] or (l.set == A[1] and not had[l.metric .. '|' .. l.window .. '|' .. l.model])
  end
  for _, packed in ipairs(redis.call('LRANGE', 'watched', 0, -1)) do
    local e = cjson.decode(packed)
    if not seen_by({[7] = snapshot[1], [8] = snapshot[2]}, e[2]) then
      local limits, starts = row_limits(e)
      for _, l in ipairs(limits) do
        if starts[l.window] and l.window ~= 'minute' and is_new(l) then book(l, e, starts) end
      end
    end
  end
  recount(function(l, is_held) return reset[l.key] or (is_new(l) and not is_held) end, false, 0, -1,
    {day = tonumber(A[6]), week = tonumber(A[7]), month = tonumber(A[8])})
  return {'ok', 1}
end

-- Rebuild: begin, load everything while nothing is decided, open. Open reservations that survived are recounted.
-- ARGV: 1 epoch
local function rebuild_begin(_, A)
  epoch = false
  redis.call('DEL', 'meta', 'opened', 'cfg', 'cfgv')
  redis.call('SET', 'rebuilding', A[1])
  return {'ok'}
end

-- ARGV: 1 epoch · 2 JSON {xmax, {xips}} · then pairs of 'l' JSON {scope, version, {label, limits}} / 'k' JSON {key,
-- start, hi, lo}
local function rebuild_load(_, A)
  if redis.call('GET', 'rebuilding') ~= A[1] then return {'no'} end
  local snapshot = cjson.decode(A[2])
  for n = 3, #A, 2 do
    local d = cjson.decode(A[n + 1])
    if A[n] == 'l' then
      redis.call('SET', 'l:' .. d[1], cmsgpack.pack(pack_limits(d[2], d[3])))
    else
      redis.call('SET', d[1], cmsgpack.pack({d[2], d[3], d[4], 0, 0, 0, snapshot[1], snapshot[2]}))
    end
  end
  return {'ok'}
end

-- ARGV: 1 epoch · 2 from · 3 to (ranks of open reservations) · 4-6 start of day, week, month
local function rebuild_recount(_, A)
  if redis.call('GET', 'rebuilding') ~= A[1] then return {'no'} end
  local starts = {day = tonumber(A[4]), week = tonumber(A[5]), month = tonumber(A[6])}
  return {'ok', recount(function() return true end, true, A[2], A[3], starts)}
end

-- The calls that open reservations belong to. ARGV: 1 epoch · 2 from · 3 to (ranks of open reservations) -> rows of
-- {key, gateway, request id}
local function rebuild_calls(_, A)
  if redis.call('GET', 'rebuilding') ~= A[1] then return {'no'} end
  local rows = {'ok'}
  for _, key in ipairs(redis.call('ZRANGE', 'x', A[2], A[3])) do
    local r = record_of(key)
    if r then rows[#rows + 1] = {key, r[18], r[17]} end
  end
  return rows
end

-- Reservations that were closed while Postgres decided. ARGV: 1 epoch · 2 state · 3 seconds a tombstone is kept · keys
local function rebuild_close(_, A)
  if redis.call('GET', 'rebuilding') ~= A[1] then return {'no'} end
  for n = 4, #A do
    local r = record_of(A[n])
    if r then
      r[1], r[16] = A[2], {}
      keep(A[n], r, A[3])
    end
    redis.call('ZREM', 'x', A[n])
  end
  return {'ok'}
end

-- Reservations made while Postgres decided replace whatever was held for the same call. ARGV: 1 epoch · 2 seconds a
-- tombstone is kept · JSON arrays: {key, record without its counters}
local function rebuild_carry(_, A)
  if redis.call('GET', 'rebuilding') ~= A[1] then return {'no'} end
  for n = 3, #A do
    local d = cjson.decode(A[n])
    local key, r = d[1], d[2]
    local old = r[17] == '' and record_of(key)
    if r[17] == '' then
      -- Postgres knows only the reservation's id: what is known here of the call stays.
      if old then old[1], old[4], r = r[1], math.max(old[4], r[4]), old else key = nil end
    end
    r[16] = {}
    if key and r[1] == 'open' then
      keep(key, r)
      redis.call('ZADD', 'x', r[4], key)
    elseif key then
      keep(key, r, A[2])
      redis.call('ZREM', 'x', key)
    end
  end
  return {'ok'}
end

-- Data lost since the beginning, or another rebuild, and this one must not open. ARGV: 1 epoch · 2 until when (ms)
local function rebuild_open(_, A)
  local version = redis.call('GET', 'cfgv')
  if redis.call('GET', 'rebuilding') ~= A[1] or not version then return {'no'} end
  epoch = tonumber(A[1])
  redis.call('DEL', 'rebuilding')
  redis.call('SET', 'opened', A[1])
  redis.call('SET', 'meta', cmsgpack.pack({epoch, tonumber(version)}), 'PXAT', A[2])
  return {'ok'}
end

-- Go on deciding in an epoch that Postgres has confirmed: until a moment counted from before it was asked, so that a
-- renewal which was held up on its way prolongs nothing. ARGV: 1 epoch · 2 until when (ms) -> open reservations
local function renew(_, A)
  local version = redis.call('GET', 'cfgv')
  if epoch ~= tonumber(A[1]) or redis.call('GET', 'opened') ~= A[1] or not version then return {'rebuild'} end
  if redis.call('PEXPIRETIME', 'meta') < tonumber(A[2]) then
    redis.call('SET', 'meta', cmsgpack.pack({epoch, tonumber(version)}), 'PXAT', A[2])
  end
  return {'ok', redis.call('ZCARD', 'x')}
end

local function state()
  local m = meta()
  if not m then return {'rebuild', milliseconds('')} end
  return {'ok', milliseconds(''), m[1], m[2], redis.call('ZCARD', 'x'), redis.call('XLEN', 'refused')}
end

-- ARGV: counter keys -> for each {start, settled hi, lo, reserved hi, lo, seq}, of calls in flight {0, count}, else false
local function read(_, A)
  if not meta() then return {'rebuild'} end
  local rows = {'ok'}
  for i = 1, #A do
    local c = record_of(A[i])
    rows[i + 1] = c and (#c >= 6 and {c[1], c[2], c[3], c[4], c[5], c[6]} or #c == 2 and {0, c[1]}) or false
  end
  return rows
end

-- Repair a counter that nobody has touched since it was read. ARGV: 1 key · 2 start · 3 seq · 4-5 settled · 6 JSON
-- snapshot
local function repair(_, A)
  if not meta() then return {'rebuild'} end
  local c = record_of(A[1]) or {tonumber(A[2]), 0, 0, 0, 0, 0, false, false}
  local snapshot = cjson.decode(A[6])
  if c[1] ~= tonumber(A[2]) or c[6] ~= tonumber(A[3]) then return {'no'} end
  c[2], c[3], c[6], c[7], c[8] = tonumber(A[4]), tonumber(A[5]), c[6] + 1, snapshot[1], snapshot[2]
  redis.call('SET', A[1], cmsgpack.pack(c))
  return {'ok'}
end

-- What open reservations hold against what the counters say: rows that differ, of every counter on which something is
-- held and of those named. ARGV: counter keys
local function reserved(_, A)
  if not meta() then return {'rebuild'} end
  local sums = {}
  local function sum_of(key, start)
    local of_key = sums[key] or {}
    sums[key] = of_key
    of_key[start] = of_key[start] or {0, 0}
    return of_key[start]
  end
  for _, key in ipairs(redis.call('ZRANGE', 'x', 0, -1)) do
    local r = record_of(key)
    if r and r[1] == 'open' then
      for _, held in ipairs(r[16]) do
        if held[2] ~= 'minute' then
          local ah, al = asked(held[4], {r[12], r[13], r[14], r[15]})
          local s = sum_of(held[1], held[2] == 'none' and 0 or held[3])
          s[1], s[2] = add(s[1], s[2], ah, al)
        end
      end
    end
  end
  for i = 1, #A do sums[A[i]] = sums[A[i]] or {} end
  local rows = {'ok'}
  for key, of_key in pairs(sums) do
    local c = record_of(key)
    if c and #c ~= 4 then
      local hi, lo, start = c[4], c[5], c[1]
      if #c == 2 then hi, lo, start = 0, c[1], 0 end
      local s = of_key[start] or {0, 0}
      if hi ~= s[1] or lo ~= s[2] then rows[#rows + 1] = {key, hi, lo, s[1], s[2]} end
    end
  end
  return rows
end

server.register_function('authorize', authorize)
server.register_function{function_name = 'explain', callback = explain, flags = {'no-writes'}}
server.register_function('gateway', gateway)
server.register_function{function_name = 'lookup', callback = lookup, flags = {'no-writes'}}
server.register_function('settle', settle)
server.register_function('moved', moved)
server.register_function('release', release)
server.register_function('extend', extend)
server.register_function('due', due)
server.register_function('put', put)
server.register_function('undeny', undeny)
server.register_function('put_configuration', put_configuration)
server.register_function('watch', watch)
server.register_function('unwatch', unwatch)
server.register_function('put_limits', put_limits)
server.register_function('rebuild_begin', rebuild_begin)
server.register_function('rebuild_load', rebuild_load)
server.register_function('rebuild_recount', rebuild_recount)
server.register_function('rebuild_calls', rebuild_calls)
server.register_function('rebuild_close', rebuild_close)
server.register_function('rebuild_carry', rebuild_carry)
server.register_function('rebuild_open', rebuild_open)
server.register_function('renew', renew)
server.register_function{function_name = 'state', callback = state, flags = {'no-writes'}}
server.register_function{function_name = 'read', callback = read, flags = {'no-writes'}}
server.register_function('repair', repair)
server.register_function{function_name = 'reserved', callback = reserved, flags = {'no-writes'}}
