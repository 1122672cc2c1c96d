-- Reads the frames of an opened SEALED packet, and the messages in them, into a tree.
--
--   frames.read(tvb, tree, pinfo, session)      the names of the frames, for the Info column
--   frames.cursor, frames.guarded, frames.bad   reading that stops at the first byte that breaks a rule

local declared, messages = ...
if type(declared) ~= 'table' then return end -- Wireshark tries every file of a plugin folder by itself.

local BODY_BYTES_MAX, CLOSE_TEXT_BYTES_MAX, NAME_BYTES_MAX = 1024, 200, 80
local ACK_RANGES_MAX, ACK_DELAY_UNIT_MICROS = 32, 8
local FRAMES, QUERY_NAMES, NOTICE_NAMES = declared.frames, declared.queries, declared.notices
local SPACES = { [0] = 'control', 'segments' }
local f, e = declared.fields, declared.experts
local M = {}

-- What ends the reading of bytes that break a rule.
local Bad = {}
local function bad(text)
  error(setmetatable({ text = text }, Bad), 0)
end
M.bad = bad

-- Reads forward through `tvb`, from `at` to `stop`, and puts what it reads into a tree.
local Cursor = {}
Cursor.__index = Cursor

function M.cursor(tvb, at, stop) return setmetatable({ tvb = tvb, at = at, stop = stop }, Cursor) end

function Cursor:take(count)
  if self.at + count > self.stop then bad('ends too early') end
  self.at = self.at + count
  return self.tvb:range(self.at - count, count)
end

-- An unsigned integer of `count` bytes, as field `name`.
function Cursor:number(tree, name, count)
  local range = self:take(count)
  tree:add(f[name], range)
  return count > 4 and range:uint64():tonumber() or range:uint()
end

function Cursor:bytes(tree, name, count)
  local range = self:take(count)
  tree:add(f[name], range)
  return range
end

-- What stands in UTF-8: the forms of RFC 3629, none overlong, no surrogates.
local UTF8 = {
  '^[\0-\x7f]+', '^[\xc2-\xdf][\x80-\xbf]', '^\xe0[\xa0-\xbf][\x80-\xbf]', '^[\xe1-\xec\xee\xef][\x80-\xbf][\x80-\xbf]',
  '^\xed[\x80-\x9f][\x80-\xbf]', '^\xf0[\x90-\xbf][\x80-\xbf][\x80-\xbf]',
  '^[\xf1-\xf3][\x80-\xbf][\x80-\xbf][\x80-\xbf]', '^\xf4[\x80-\x8f][\x80-\xbf][\x80-\xbf]',
}

local function is_utf8(text)
  local at = 1
  while at <= #text do
    local next
    for _, form in ipairs(UTF8) do
      local _, last = text:find(form, at)
      next = next or last
    end
    if not next then return false end
    at = next + 1
  end
  return true
end

function Cursor:text(tree, name, bytes_max)
  local count = self:take(1):uint()
  if count > bytes_max then bad('text too long') end
  local range = count > 0 and self:take(count) or nil
  local text = range and range:string(ENC_UTF_8) or ''
  tree:add(f[name], self.tvb:range(self.at - count - 1, count + 1), text)
  if range and not is_utf8(range:raw()) then bad('text is no UTF-8') end
  return text
end

local WIDTHS = { u8 = 1, u16 = 2, u32 = 4, u48 = 6, flag = 1, optional = 1, by_code = 1 }

function Cursor:layout(tree, layout)
  for _, entry in ipairs(layout) do
    local name, type, title, detail = 'msg.' .. entry[1], entry[2], entry[3], entry[4]
    if type == 'bytes' then
      self:bytes(tree, name, detail)
    elseif type == 'text' then
      self:text(tree, name, NAME_BYTES_MAX)
    elseif type == 'data' then
      local count = self:take(2):uint()
      if count > detail then bad('too many bytes of ' .. title) end
      if count > 0 then self:bytes(tree, name, count) end
    elseif type == 'list' then
      local start = self.at
      local count = self:take(1):uint()
      local items = tree:add(self.tvb:range(start, 1), ('%s: %d'):format(title, count))
      for _ = 1, count do self:layout(items, detail) end
      items:set_len(self.at - start)
    else
      local value = self:number(tree, name, WIDTHS[type])
      if (type == 'flag' or type == 'optional') and value > 1 then bad(title .. ' is neither 0 nor 1') end
      if type == 'optional' and value == 1 then self:layout(tree, detail) end
      if type == 'by_code' then self:layout(tree, detail[value] or bad('code of an answer')) end
    end
  end
end

-- Runs `read`; bytes that break a rule become an expert info under `tree`. Whether there were none.
function M.guarded(tree, info, read)
  local fine, problem = pcall(read)
  if fine then return true end
  if getmetatable(problem) ~= Bad then error(problem, 0) end
  tree:add_proto_expert_info(info, problem.text)
  return false
end

-- ---------------------------------------------------------------- frames

local read_frame = {}

local function name_in(names, number) return names[number] or tostring(number) end

-- A body by its layout, or as bytes where none is known.
local function read_body(c, tree, layout, may_be_missing)
  local count = c:number(tree, 'body_length', 2)
  if count > BODY_BYTES_MAX then bad('body too long') end
  if count == 0 and may_be_missing then return end -- BUSY without a time, NOT_LEADER without a leader
  local range = count > 0 and c:take(count) or nil
  local body = range and tree:add(f.body, range) or tree
  if not layout then return end
  local inner = M.cursor(c.tvb, c.at - count, c.at)
  M.guarded(body, e.body, function()
    inner:layout(body, layout)
    if inner.at < inner.stop then bad('bytes behind the last field of the body') end
  end)
end

read_frame[0] = function(c, tree)
  local start = c.at
  while c.at < c.stop and c.tvb:range(c.at, 1):uint() == 0 do c.at = c.at + 1 end
  tree:add(f.padding, c.tvb:range(start - 1, c.at - start + 1), c.at - start + 1)
end

read_frame[1] = function() end

read_frame[2] = function(c, tree)
  local space = c:number(tree, 'ack_space', 1)
  local delay = c:take(2)
  tree:add(f.ack_delay, delay, delay:uint() * ACK_DELAY_UNIT_MICROS)
  local count = c:number(tree, 'ack_count', 1)
  if space > 1 or count < 1 or count > ACK_RANGES_MAX then bad('space or range count of an ACK') end
  local last = c:number(tree, 'ack_largest', 6)
  local first = last - c:number(tree, 'ack_first', 4)
  local ranges = {}
  for index = 1, count do
    if index > 1 then
      last = first - c:number(tree, 'ack_gap', 4) - 2
      first = last - c:number(tree, 'ack_length', 4)
    end
    if first < 0 then bad('ACK range below 0') end
    ranges[index] = first == last and ('%d'):format(last) or ('%d-%d'):format(first, last)
  end
  tree:append_text(': ' .. SPACES[space] .. ' ' .. table.concat(ranges, ', '))
end

read_frame[3] = function(c, tree)
  local code = c:number(tree, 'close_code', 2)
  local text = c:text(tree, 'close_text', CLOSE_TEXT_BYTES_MAX)
  return name_in(messages.close_codes, code), text
end

read_frame[4] = function(c, tree, pinfo, session)
  local id = c:number(tree, 'query_id', 4)
  local kind = c:number(tree, 'query', 1)
  local earlier = session.queries[id]
  -- The same query again tells nothing; another one under its id is of a later session of these ports.
  if not pinfo.visited and not (earlier and earlier.kind == kind) then
    session.queries[id] = { kind = kind, frame = pinfo.number }
  end
  read_body(c, tree, messages.queries[kind] and messages.queries[kind][2])
  return ('%d %s'):format(id, name_in(QUERY_NAMES, kind))
end

read_frame[5] = function(c, tree, pinfo, session)
  local id = c:number(tree, 'query_id', 4)
  local code = c:number(tree, 'code', 1)
  local key = pinfo.number .. ':' .. id
  if not pinfo.visited then session.replies[key] = session.queries[id] end
  local query = session.replies[key]
  if query then
    tree:add(f.reply_to, name_in(QUERY_NAMES, query.kind)):set_generated()
    tree:add(f.query_frame, query.frame):set_generated()
  end
  read_body(c, tree, messages.reply_layout(query and query.kind, code))
  local name = query and name_in(QUERY_NAMES, query.kind) .. ' ' or ''
  return ('%d %s%s'):format(id, name, name_in(messages.results, code))
end

read_frame[6] = function(c, tree)
  local kind = c:number(tree, 'notice', 1)
  read_body(c, tree, messages.notices[kind] and messages.notices[kind][2])
  return name_in(NOTICE_NAMES, kind)
end

read_frame[7] = function(c, tree)
  local flow = c:number(tree, 'flow', 4)
  local limit = c:number(tree, 'credit_limit', 6)
  local done = c:number(tree, 'credit_opened', 6)
  local complete = c:number(tree, 'credit_complete', 1)
  if complete > 1 or done > limit then bad('CREDIT out of range') end
  return ('%d to %d, %d opened%s'):format(flow, limit, done, complete == 1 and ', complete' or '')
end

read_frame[8] = function(c, tree)
  local flow = c:number(tree, 'flow', 4)
  return ('%d record %d'):format(flow, c:number(tree, 'record', 4))
end

local function read_end(c, tree)
  local flow, code = c:number(tree, 'flow', 4), c:number(tree, 'code', 1)
  return ('%d %s'):format(flow, name_in(messages.results, code))
end
read_frame[9], read_frame[10] = read_end, read_end

function M.read(tvb, tree, pinfo, session)
  local c = M.cursor(tvb, 0, tvb:len())
  local names = {}
  M.guarded(tree, e.frames, function()
    if c.at == c.stop then bad('no frame') end
    while c.at < c.stop do
      local start = c.at
      local type = c:take(1):uint()
      local name = FRAMES[type] or bad(('unknown frame 0x%02x'):format(type))
      local item = tree:add(tvb:range(start), name)
      item:add(f.frame, tvb:range(start, 1))
      names[#names + 1] = name
      local detail, rest = read_frame[type](c, item, pinfo, session)
      item:set_len(c.at - start)
      if detail then
        item:append_text(' ' .. detail .. (rest and rest ~= '' and ': ' .. rest or ''))
        names[#names] = name .. ' ' .. detail
      end
    end
  end)
  return names
end

return M
