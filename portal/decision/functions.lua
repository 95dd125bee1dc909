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
-- Counters: calendar {start, settled hi, lo, reserved hi, lo, seq, snapshot} · minute {start, this, previous, seq}
-- · concurrency {count, seq}, stored as doubles. In front of a calendar counter stands its snapshot {xmax, xips} as
-- MessagePack: the Postgres snapshot the settled amount was read from; usage which it has seen is already in it.

local BASE = 1000000000
-- Memory only: a server that restarted has no epoch and decides nothing before a rebuild has re-read the record.
local epoch = false

-- Also memory only, and never trusted: what was decoded or compiled before, used only while the bytes it was made of
-- are those which this call has read. (Comparing them is comparing pointers: Lua keeps each string once.)
local MOST_REMEMBERED = 20000
local gateways, credentials, counters, remembered = {}, {}, {}, 0

local function remember()
  remembered = remembered + 1
  if remembered > MOST_REMEMBERED then gateways, credentials, counters, remembered = {}, {}, {}, 0 end
end

local function add(ah, al, bh, bl)
  local h, l = ah + bh, al + bl
  if l >= BASE then h = h + 1; l = l - BASE elseif l < 0 then h = h - 1; l = l + BASE end
  return h, l
end

local function milliseconds(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local meta_bytes, meta_fields
local function meta_of(packed)
  if not epoch or not packed then return nil end
  if packed ~= meta_bytes then meta_bytes, meta_fields = packed, cmsgpack.unpack(packed) end
  if meta_fields[1] ~= epoch then return nil end
  return meta_fields
end

local function meta()
  return epoch and meta_of(redis.call('GET', 'meta'))
end

-- What the caller's copy of the configuration says of this moment, in numbers: version, start and end of day, week and
-- month, how long a reservation lives, how many refusals are kept.
local frame = {}
local function frame_of(text)
  if frame.text ~= text then
    local n = {}
    for number in string.gmatch(text, '%-?%d+') do n[#n + 1] = tonumber(number) end
    frame = {text = text, version = n[1], starts = {day = n[2], week = n[4], month = n[6], none = 0},
      ends = {day = n[3], week = n[5], month = n[7]}, from = math.max(n[2], n[4], n[6]) * 1000,
      to = math.min(n[3], n[5], n[7]) * 1000, lives = n[8], refusals = n[9]}
  end
  return frame
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

-- Gateway: {version, pepper, digest, state, projects or false, name}
local function gateway_of(id, packed)
  local w = gateways[id]
  if w and w.bytes == packed then return w end
  if not packed then return nil end
  remember()
  w = {bytes = packed, key = 'w:' .. id, mark = 'd:w:' .. id, fields = cmsgpack.unpack(packed)}
  gateways[id] = w
  return w
end

local function gateway_known(w, mark, peppers, digests)
  if not w or mark or w.fields[4] ~= 'active' then return false end
  if w.digests == digests and w.peppers == peppers then return true end
  if not digest_matches(w.fields[2], w.fields[3], peppers, digests) then return false end
  w.peppers, w.digests = peppers, digests
  return true
end

local function serves(w, project)
  if not w[5] then return true end
  for i = 1, #w[5] do if w[5][i] == project then return true end end
  return false
end

-- Credential: {version, pepper, digest, kind, state, expires s or 0, project, person, draws on, is a member, models or
-- false, networks or false, user, previous pepper or false, previous digest, previous secret's end s, names users, not before s or 0 (none in those packed before)}
local function credential_of(id, packed)
  local c = credentials[id]
  if c and c.bytes == packed then return c end
  if not packed then return nil end
  remember()
  c = {bytes = packed, key = 's:' .. id, mark = 'd:s:' .. id, fields = cmsgpack.unpack(packed), plans = {}}
  credentials[id] = c
  return c
end

-- Which secret of a credential it is: '' the current one, '~' the previous one while both are valid, else nil.
local function secret_of(c, peppers, digests, now)
  if c.digests == digests and c.peppers == peppers then return '' end
  local s = c.fields
  if digest_matches(s[2], s[3], peppers, digests) then
    c.peppers, c.digests = peppers, digests
    return ''
  end
  if s[14] and now < s[16] * 1000 and digest_matches(s[14], s[15], peppers, digests) then return '~' end
  return nil
end

local function refuse_credential(mark, s, now)
  if mark then return string.match(mark, '^[^|]*') end
  if s[5] ~= 'active' then return 'credential_' .. s[5] end
  if s[6] ~= 0 and s[6] * 1000 <= now then return 'credential_expired' end
  if (s[18] or 0) * 1000 > now then return 'credential_suspended' end  -- not yet valid
  return nil
end

local function address_allowed(networks, bits)
  if not networks then return true end
  if bits == '' then return false end
  for i = 1, #networks do if string.sub(bits, 1, #networks[i]) == networks[i] then return true end end
  return false
end

-- The checks before limits, in the order of the contract, in two parts: the first that fails is the answer.
-- `is_unknown`: the key has named a user, and there is none such or more than one.
local function refuse_caller(s, mark, is_unknown, bits, now)
  local code = refuse_credential(mark, s, now)
  if code then return code end
  if s[10] ~= 1 or is_unknown then return 'not_a_member' end
  if not address_allowed(s[12], bits) then return 'address_not_allowed' end
  return nil
end

-- Project: {version, state, group or 0, models or false, name, code}
local function refuse_project(p, mark, is_listed, is_priced)
  if mark or not p or p[2] ~= 'active' then return 'project_inactive' end
  if not is_listed then return 'model_not_allowed' end
  if not is_priced then return 'model_unpriced' end
  return nil
end

-- The sets of limits that apply to a call, each with the scope whose counters it uses.
local function sets_of(call)
  local keys, scopes = {'l:o'}, {'o'}
  local function want(set, scope) keys[#keys + 1] = 'l:' .. set; scopes[#scopes + 1] = scope end
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
  return keys, scopes
end

-- The limits in the sets that apply to a model. A row that names a user replaces the general row with the same metric,
-- window and model.
local function limits_of(keys, scopes, packed, model)
  local limits, named = {}, {}
  for i = 1, #keys do
    if packed[i] then
      local set = cmsgpack.unpack(packed[i])
      for _, l in ipairs(set[3]) do
        if matches(l[3], model) then
          local name = scopes[i] .. '|' .. l[1] .. '|' .. l[2] .. '|' .. l[3]
          if not named[name] then
            named[name] = true
            limits[#limits + 1] = {scope = scopes[i], set = string.sub(keys[i], 3), label = set[2], metric = l[1],
              window = l[2], model = l[3], enforce = l[4] == 'enforce', hi = l[5], lo = l[6], key = 'k:' .. name,
              is_calendar = l[2] ~= 'minute' and l[2] ~= 'none'}
          end
        end
      end
    end
  end
  return limits
end

local function gather(call)
  local keys, scopes = sets_of(call)
  return limits_of(keys, scopes, redis.call('MGET', unpack(keys)), call.model)
end

local function read_counter(packed)
  if not packed then return nil end
  if #packed == 16 then
    local count, seq = struct.unpack('<dd', packed)
    return {count, seq}
  elseif #packed == 32 then
    local start, this, previous, seq = struct.unpack('<dddd', packed)
    return {start, this, previous, seq}
  end
  local start, sh, sl, rh, rl, seq = struct.unpack('<dddddd', packed, #packed - 47)
  return {start, sh, sl, rh, rl, seq, string.sub(packed, 1, -49)}
end

local function write_counter(c)
  if #c == 2 then return struct.pack('<dd', c[1], c[2]) end
  if #c == 4 then return struct.pack('<dddd', c[1], c[2], c[3], c[4]) end
  return c[7] .. struct.pack('<dddddd', c[1], c[2], c[3], c[4], c[5], c[6])
end

local function counter_at(key)
  return read_counter(redis.call('GET', key))
end

local function fresh(window, start)
  if window == 'minute' then return {start, 0, 0, 0} end
  if window == 'none' then return {0, 0} end
  return {start, 0, 0, 0, 0, 0, ''}
end

-- Bring a counter to the window that begins at start; a window that has ended is no longer read.
local function turn(counter, window, start)
  if not counter then return fresh(window, start) end
  if window == 'none' or counter[1] >= start then return counter end
  if window == 'minute' then
    return {start, 0, counter[1] == start - 60 and counter[2] or 0, counter[4] + 1}
  end
  return {start, 0, 0, 0, 0, counter[6] + 1, ''}
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
  for i, l in ipairs(limits) do l.counter = turn(read_counter(packed[i]), l.window, starts[l.window]) end
end

-- Whether there is room, and for a sliding minute when there will be: (room, used hi, lo, reserved hi, lo, reset s).
local function room(l, ah, al, now, ends)
  local c = l.counter
  if l.is_calendar then
    local th, tl = add(c[2], c[3], c[4], c[5])
    th, tl = add(th, tl, ah, al)
    return th < l.hi or (th == l.hi and tl <= l.lo), c[2], c[3], c[4], c[5], ends[l.window]
  end
  if l.window == 'none' then
    return c[1] + 1 <= l.hi * BASE + l.lo, 0, 0, 0, c[1], 0
  end
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

local function report(limits, amount, now, ends)
  local failed, rows = false, {}
  for i, l in ipairs(limits) do
    local ah, al = asked(l.metric, amount)
    local ok, uh, ul, rh, rl, reset = room(l, ah, al, now, ends)
    if not ok and l.enforce then failed = true end
    rows[i] = {l.scope, l.metric, l.window, l.model, l.label, l.hi, l.lo, uh, ul, rh, rl, ah, al, reset,
      ok and 1 or 0, l.enforce and 1 or 0, l.set}
  end
  return rows, failed
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
  for _, l in ipairs(limits) do pairs_[#pairs_ + 1] = l.key; pairs_[#pairs_ + 1] = write_counter(l.counter) end
  redis.call('MSET', unpack(pairs_))
end

local function record_of(key)
  local packed = redis.call('GET', key)
  return packed and cmsgpack.unpack(packed)
end

-- Reservation: {state, fingerprint, moment ms, expires ms, group, project, person, draws, credential, model, price,
-- spend hi, lo, tokens hi, lo, counters {{key, window, start, metric}}, request id, gateway}
-- As it is stored: first letter of the state, how many counters, eleven numbers and the starts as doubles, then
-- fingerprint, gateway and request id, each ended by NUL, then {credential, model, counters {key, window, metric, …}}.
local STATES = {o = 'open', s = 'settled', r = 'released'}
local HEAD = 91

local function named_counters(held)
  local names = {}
  for _, h in ipairs(held) do names[#names + 1] = h[1]; names[#names + 1] = h[2]; names[#names + 1] = h[4] end
  return names
end

local function write_reservation(r)
  local starts = {}
  for i, h in ipairs(r[16]) do starts[i] = struct.pack('<d', h[3]) end
  return table.concat({string.sub(r[1], 1, 1), struct.pack('<H', #r[16]), struct.pack('<ddddddddddd', r[3], r[4], r[5], r[6], r[7],
    r[8], r[11], r[12], r[13], r[14], r[15]), table.concat(starts), r[2], '\0', r[18], '\0', r[17], '\0',
    cmsgpack.pack({r[9], r[10], named_counters(r[16])})})
end

local function read_reservation(packed)
  local state = packed and STATES[string.sub(packed, 1, 1)]
  -- What another version of this library has written is forgotten, as if it had been lost.
  if not state then return nil end
  local count = struct.unpack('<H', packed, 2)
  local moment, expires, group, project, person, draws, price, hi, lo, thi, tlo =
    struct.unpack('<ddddddddddd', packed, 4)
  local print, gateway, request, rest = string.match(packed, '^(%Z*)%z(%Z*)%z(%Z*)%z(.*)$', HEAD + 1 + count * 8)
  local named = cmsgpack.unpack(rest)
  local held = {}
  for i = 1, count do
    local start = struct.unpack('<d', packed, HEAD + 1 + (i - 1) * 8)
    held[i] = {named[3][3 * i - 2], named[3][3 * i - 1], start, named[3][3 * i]}
  end
  return {state, print, moment, expires, group, project, person, draws, named[1], named[2],
    price, hi, lo, thi, tlo, held, request, gateway}
end

local function reservation_at(key)
  return read_reservation(redis.call('GET', key))
end

local function keep(key, r, seconds)
  if seconds then redis.call('SET', key, write_reservation(r), 'EX', seconds)
  else redis.call('SET', key, write_reservation(r)) end
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
    local c = counter_at(key)
    if c then
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
      redis.call('SET', key, write_counter(c))
    end
  end
end

-- What every allowed call with the same credential, user and model has in common: the keys to read with the bytes they
-- had, the limits, and the parts of the answer and of the reservation that do not change.
local function described(code, user, limits)
  local rows = {}
  for i, l in ipairs(limits) do
    rows[i] = {l.scope, l.metric, l.window, l.model, l.label, l.hi, l.lo, l.enforce, l.set}
  end
  return cmsgpack.pack({code, user, rows})
end

local function compile(id, s, person, user, model, packed)
  local p = cmsgpack.unpack(packed)
  local sets, scopes = sets_of({group = p[3], project = s[7], person = person, draws = s[9], credential = id})
  local bytes = redis.call('MGET', unpack(sets))
  local limits = limits_of(sets, scopes, bytes, model)
  local keys, held, seen, written = {'p:' .. s[7]}, {}, {packed}, {}
  for i = 1, #sets do keys[1 + i], seen[1 + i] = sets[i], bytes[i] end
  keys[#keys + 1] = 'd:p:' .. s[7]
  for i, l in ipairs(limits) do
    keys[#keys + 1] = l.key
    held[i] = {l.key, l.window, 0, l.metric}
    written[2 * i - 1] = l.key
  end
  local answer = described(p[6], user, limits)
  return {keys = keys, seen = seen, sets = #sets + 1, written = written, project = p, limits = limits,
    is_listed = listed(p[4], model) and listed(s[11], model), reply = {'ok', answer},
    count = struct.pack('<H', #limits), who = struct.pack('<dddd', p[3], s[7], person, s[9]),
    rest = '\0' .. cmsgpack.pack({id, model, named_counters(held)})}
end

-- The plan for a call, and what its keys hold now; nil when the project is not known.
local function plan_of(c, id, named, person, user, model, is_priced)
  -- The facts about the user are part of the name.
  local name = named and named .. model or model
  local plan = c.plans[name]
  if plan then
    local got, seen, same = redis.call('MGET', unpack(plan.keys)), plan.seen, true
    for i = 1, plan.sets do
      if got[i] ~= seen[i] then same = false end
    end
    if same then return plan, got end
  end
  local packed = redis.call('GET', 'p:' .. c.fields[7])
  if not packed then return nil end
  plan = compile(id, c.fields, person, user, model, packed)
  if plan.is_listed and is_priced then
    remember()
    c.plans[name] = plan
  end
  return plan, redis.call('MGET', unpack(plan.keys))
end

local function hex(bytes)
  return (string.gsub(bytes, '.', function(byte) return string.format('%02x', string.byte(byte)) end))
end

local function log_refusal(most, entry)
  redis.call('XADD', 'refused', 'MAXLEN', '~', most, '*', 'd', cjson.encode(entry))
end

local function log_refused(A, f, now, c, p, person, sh, sl, code, checks, is_observed)
  log_refusal(f.refusals, {id = hex(A[14]), at = now, gateway = A[3], request = A[9], credential = c and A[6] or '',
    model = A[11], project = c and c.fields[7] or 0, group = p and p[3] or 0, person = c and person or 0,
    hi = string.format('%.0f', sh), lo = string.format('%.0f', sl), code = code, checks = checks,
    observed = is_observed})
end

-- The counter of a limit in the window that begins at start, from the bytes that were read. A counter that is
-- remembered has the fields of its bytes, always: one on which a call is held is found again only once it is stored.
local function counter_of(l, packed, start)
  local c = packed and counters[l.key]
  if not c or c.bytes ~= packed then
    remember()
    c = read_counter(packed)
    if c then c.bytes = packed end
  end
  c = turn(c, l.window, start)
  counters[l.key] = c
  return c
end

-- ARGV: 1 now ms or '' · 2 frame · 3 gateway id · 4 pepper numbers · 5 gateway digests · 6 credential id · 7 credential
-- digests · 8 reservation key · 9 request id · 10 fingerprint · 11 model · 12 price id (0 = unpriced), spend hi, lo,
-- tokens hi, lo as doubles · 13 address bits · 14 decision id, 16 bytes · 15 address · 16 user
-- -> {'ok', project code, user and limits as MessagePack, moment, expires, group, project, person, draws, price, spend
-- hi, lo, tokens hi, lo as doubles, indexes (to 255) of limits without room that only observe, what is said of each …}
local function authorize(_, A)
  if not epoch then return {'rebuild'} end
  local call, floor, pack = redis.call, math.floor, struct.pack
  local now, gateway, id = milliseconds(A[1]), A[3], A[6]
  local w, c = gateways[gateway], credentials[id]
  local got = call('MGET', 'meta', w and w.key or 'w:' .. gateway, w and w.mark or 'd:w:' .. gateway,
    c and c.key or 's:' .. id, c and c.mark or 'd:s:' .. id, A[8])
  local m = meta_of(got[1])
  if not m then return {'rebuild'} end
  w, c = gateway_of(gateway, got[2]), credential_of(id, got[4])
  if not gateway_known(w, got[3], A[4], A[5]) then return {'no', 'gateway_unknown'} end
  local f = frame_of(A[2])
  if m[2] ~= f.version then return {'config', m[2], now} end
  if now < f.from or now >= f.to then return {'clock', m[2], now} end
  local price, sh, sl, th, tl = struct.unpack('<ddddd', A[12])
  local model, starts, ends, minute = A[11], f.starts, f.ends, floor(now / 60000) * 60
  starts.minute = minute

  local which = c and secret_of(c, A[4], A[7], now)
  local code, s, plan, p, person, user, named
  if which then
    s = c.fields
    person, user = s[8], s[13]
    if s[17] == 1 and A[16] ~= '' then
      named = call('HGET', 'n:' .. s[7], A[16])
      if named then
        local who = cmsgpack.unpack(named)
        person, user = who[1], who[2]
      end
    end
    code = refuse_caller(s, got[5], named == false, A[13], now)
    if not code then
      local reservation = got[6]
      plan, got = plan_of(c, id, named, person, user, model, price ~= 0)
      p = plan and plan.project
      code = refuse_project(p, plan and got[plan.sets + 1], plan and plan.is_listed, price ~= 0)
      if not code and not serves(w.fields, s[7]) then code = 'project_inactive' end
      if plan then got.reservation = reservation end
    end
    local second = floor(now / 1000)
    if c.seen_at ~= second or c.seen_by ~= gateway or c.seen_from ~= A[15] or c.seen_which ~= which then
      call('HSET', 'seen', id .. which, second .. '|' .. gateway .. '|' .. A[15])
      c.seen_at, c.seen_by, c.seen_from, c.seen_which = second, gateway, A[15], which
    end
  else
    code = 'credential_unknown'
  end
  if code then
    log_refused(A, f, now, which and c, p, person, sh, sl, code)
    return {'no', code}
  end

  local old = read_reservation(got.reservation)
  if old then
    if old[1] ~= 'open' or old[2] ~= A[10] or old[4] <= now then return {'no', 'request_id_reused'} end
    local limits = gather(call_of(old))
    load_counters(limits, starts)
    local reply = {'ok', described(p[6], user, limits), string.sub(got.reservation, 4, HEAD), ''}
    for i, l in ipairs(limits) do
      local _, uh, ul, rh, rl, reset = room(l, 0, 0, now, ends)
      reply[4 + i] = struct.pack('<dddddd', 0, uh, ul, rh, rl, reset)
    end
    return reply
  end

  local limits, offset, reply, written = plan.limits, plan.sets + 1, plan.reply, plan.written
  local count, is_refused, observed, is_usual = #limits, false, '', plan.frame == f and plan.minute == minute
  for i = 1, count do
    local l, packed = limits[i], got[offset + i]
    local window, metric, key, ah, al = l.window, l.metric, l.key, 0, 1
    if metric == 'spend' then ah, al = sh, sl elseif metric == 'tokens' then ah, al = th, tl end
    local start, counter, ok, bytes = starts[window], counters[key], nil, nil
    if not counter or counter.bytes ~= packed or counter[1] < start then counter = counter_of(l, packed, start) end
    local used, want
    if window == 'minute' and counter[1] == minute then
      used, want = counter[2] + math.ceil(counter[3] * (60000 - now + minute * 1000) / 60000), ah * BASE + al
    end
    if l.is_calendar then
      local hi, lo, seq = counter[4] + ah, counter[5] + al, counter[6] + 1
      if lo >= BASE then hi, lo = hi + 1, lo - BASE end
      local used_hi, used_lo = counter[2] + hi, counter[3] + lo
      if used_lo >= BASE then used_hi, used_lo = used_hi + 1, used_lo - BASE end
      ok = used_hi < l.hi or (used_hi == l.hi and used_lo <= l.lo)
      local settled = counter.settled
      if not settled then
        settled = counter[7] .. pack('<ddd', counter[1], counter[2], counter[3])
        counter.settled = settled
      end
      bytes = pack('<c0ddd', settled, hi, lo, seq)
      counter[4], counter[5], counter[6] = hi, lo, seq
      reply[4 + i] = bytes
    elseif used and used + want <= l.hi * BASE + l.lo then
      -- There is room in the sliding minute, as `room` would find, and so nothing to wait for.
      local this, seq = counter[2] + want, counter[4] + 1
      ok, counter[2], counter[4] = true, this, seq
      reply[4 + i] = pack('<dddddd', 0, floor(used / BASE), used % BASE, ah, al, minute + 60)
      bytes = pack('<dddd', minute, this, counter[3], seq)
    else
      local uh, ul, rh, rl, reset
      l.counter = counter
      ok, uh, ul, rh, rl, reset = room(l, ah, al, now, ends)
      hold(l, ah, al, 1)
      bytes = write_counter(counter)
      reply[4 + i] = pack('<dddddd', 0, uh, ul, rh + ah, rl + al, reset)
    end
    counter.bytes = bytes
    written[i + i] = bytes
    if not ok then
      if l.enforce then is_refused = true else observed = observed .. string.char(math.min(i, 255)) end
    end
    if counter[1] ~= start and window ~= 'none' then is_usual = false end
  end
  if is_refused or observed ~= '' then
    for i, l in ipairs(limits) do l.counter = turn(read_counter(got[offset + i]), l.window, starts[l.window]) end
    local rows = report(limits, {sh, sl, th, tl}, now, ends)
    log_refused(A, f, now, c, p, person, sh, sl, 'limit_exceeded', rows, not is_refused)
    if is_refused then return {'no', 'limit_exceeded', now, cmsgpack.pack(rows), p[5], p[6]} end
  end

  if not is_usual then
    -- A clock that stepped back finds a later window: what is held must name the window it is held in.
    local list = {}
    plan.frame, plan.minute = f, minute
    for i, l in ipairs(limits) do
      local start = l.window == 'none' and 0 or struct.unpack('<d', written[2 * i], #written[2 * i] - (l.is_calendar and 47 or 31))
      if start ~= starts[l.window] then plan.frame = nil end
      list[i] = struct.pack('<d', start)
    end
    plan.starts = table.concat(list)
  end
  local expires = now + f.lives
  local head = struct.pack('<dd', now, expires) .. plan.who .. A[12]
  reply[3], reply[4] = head, observed
  written[2 * count + 1] = A[8]
  written[2 * count + 2] = 'o' .. plan.count .. head .. plan.starts .. A[10] .. '\0' .. gateway .. '\0' .. A[9] .. plan.rest
  call('MSET', unpack(written))
  call('ZADD', 'x', expires, A[8])
  return reply
end

-- What would decide, without deciding. ARGV: 1 now · 2 frame · 3 credential id · 4 pepper numbers · 5 digests, or '' to
-- trust the caller · 6 model · 7 price id, spend hi, lo, tokens hi, lo as doubles · 8 address bits
local function explain(_, A)
  local m = meta()
  if not m then return {'rebuild'} end
  local now, f = milliseconds(A[1]), frame_of(A[2])
  if m[2] ~= f.version then return {'config', m[2], now} end
  if now < f.from or now >= f.to then return {'clock', m[2], now} end
  f.starts.minute = math.floor(now / 60000) * 60
  local got = redis.call('MGET', 's:' .. A[3], 'd:s:' .. A[3])
  local c = credential_of(A[3], got[1])
  if not c or (A[5] ~= '' and not secret_of(c, A[4], A[5], now)) then return {'no', 'credential_unknown', now} end
  local s = c.fields
  local price, sh, sl, th, tl = struct.unpack('<ddddd', A[7])
  local code, p = refuse_caller(s, got[2], false, A[8], now), nil
  if not code then
    got = redis.call('MGET', 'p:' .. s[7], 'd:p:' .. s[7])
    p = got[1] and cmsgpack.unpack(got[1])
    code = refuse_project(p, got[2], p and listed(p[4], A[6]) and listed(s[11], A[6]), price ~= 0)
  end
  local call = {group = p and p[3] or 0, project = s[7], person = s[8], draws = s[9], credential = A[3], model = A[6]}
  local limits = gather(call)
  load_counters(limits, f.starts)
  local rows, failed = report(limits, {sh, sl, th, tl}, now, f.ends)
  if not code and failed then code = 'limit_exceeded' end
  return {'ok', code or 'allow', now, cmsgpack.pack(rows), p and p[6] or '', s[13]}
end

-- ARGV: 1 gateway id · 2 pepper numbers · 3 digests -> the server's time and the configuration version, or refused
local function gateway(_, A)
  local m = meta()
  if not m then return {'rebuild'} end
  local got = redis.call('MGET', 'w:' .. A[1], 'd:w:' .. A[1])
  if not gateway_known(gateway_of(A[1], got[1]), got[2], A[2], A[3]) then return {'no', 'gateway_unknown'} end
  redis.call('HSET', 'seen', A[1], math.floor(milliseconds('') / 1000) .. '||')
  return {'ok', milliseconds(''), m[2]}
end

-- ARGV: reservation keys -> what is known of each: false, or {state, moment ms, group, project, person, draws,
-- credential, model, price, spend hi, lo, expires ms}
local function lookup(_, A)
  if not meta() then return {'rebuild'} end
  local rows = {'ok'}
  for i = 1, #A do
    local r = reservation_at(A[i])
    rows[i + 1] = r and {r[1], r[3], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[4]} or false
  end
  return rows
end

local function seen_by(counter, xid)
  if counter[7] == '' then return false end
  local snapshot = cmsgpack.unpack(counter[7])
  local xmax, xips = snapshot[1], snapshot[2]
  if xid >= xmax then return false end
  for i = 1, #xips do if xips[i] == xid then return false end end
  return true
end

-- Add one usage row to the counter of one limit. A row whose window has ended, or that the snapshot behind the
-- counter has seen, changes nothing.
local function book(l, e, starts)
  local start = starts[l.window]
  local c = turn(counter_at(l.key), l.window, start)
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
  redis.call('SET', l.key, write_counter(c))
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
      local r = e[3] ~= '' and reservation_at(e[3])
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
  local r = reservation_at(A[1])
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
  local r = reservation_at(A[1])
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
    local r = reservation_at(key)
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
      d.names_users and 1 or 0, d.not_before or 0}
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
    local r = reservation_at(key)
    if r and r[1] == 'open' then
      count = count + 1
      if anew then r[16] = {} end
      local has = {}
      for _, held in ipairs(r[16]) do has[held[1]] = held end
      local amount, touched = {r[12], r[13], r[14], r[15]}, {}
      local moment = math.floor(r[3] / 1000)
      for _, l in ipairs(gather(call_of(r))) do
        if wanted(l, has[l.key] ~= nil) then
          local start = l.window == 'minute' and math.floor(moment / 60) * 60 or starts[l.window] or 0
          l.counter = turn(counter_at(l.key), l.window, start)
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
      redis.call('SET', c[1], write_counter({c[2], c[3], c[4], 0, 0, 0, cmsgpack.pack(snapshot)}))
    end
  end
  local function is_new(l)
    return reset[l.key] or (l.set == A[1] and not had[l.metric .. '|' .. l.window .. '|' .. l.model])
  end
  for _, packed in ipairs(redis.call('LRANGE', 'watched', 0, -1)) do
    local e = cjson.decode(packed)
    if not seen_by({[7] = cmsgpack.pack(snapshot)}, e[2]) then
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
      redis.call('SET', d[1], write_counter({d[2], d[3], d[4], 0, 0, 0, cmsgpack.pack(snapshot)}))
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
    local r = reservation_at(key)
    if r then rows[#rows + 1] = {key, r[18], r[17]} end
  end
  return rows
end

-- Reservations that were closed while Postgres decided. ARGV: 1 epoch · 2 state · 3 seconds a tombstone is kept · keys
local function rebuild_close(_, A)
  if redis.call('GET', 'rebuilding') ~= A[1] then return {'no'} end
  for n = 4, #A do
    local r = reservation_at(A[n])
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
    local old = r[17] == '' and reservation_at(key)
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
    local c = counter_at(A[i])
    rows[i + 1] = c and (#c >= 6 and {c[1], c[2], c[3], c[4], c[5], c[6]} or #c == 2 and {0, c[1]}) or false
  end
  return rows
end

-- Repair counters that nobody has touched since they were read. ARGV: 1 JSON snapshot · for each: key · start · seq ·
-- settled hi, lo -> for each 1, or 0 when it has moved
local function repair(_, A)
  if not meta() then return {'rebuild'} end
  local snapshot, rows = cmsgpack.pack(cjson.decode(A[1])), {'ok'}
  for i = 2, #A, 5 do
    local c = counter_at(A[i]) or {tonumber(A[i + 1]), 0, 0, 0, 0, 0, ''}
    local still = c[1] == tonumber(A[i + 1]) and c[6] == tonumber(A[i + 2])
    if still then
      c[2], c[3], c[6], c[7] = tonumber(A[i + 3]), tonumber(A[i + 4]), c[6] + 1, snapshot
      redis.call('SET', A[i], write_counter(c))
    end
    rows[#rows + 1] = still and 1 or 0
  end
  return rows
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
    local r = reservation_at(key)
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
    local c = counter_at(key)
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
