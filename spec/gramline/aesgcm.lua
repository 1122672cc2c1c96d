-- AES-256-GCM in plain Lua (FIPS 197, NIST SP 800-38D): the Lua of Wireshark 4.0 offers no cipher. Tables make
-- it fast enough for captures, some 0.8 MB a second. Nothing here runs in constant time, and the keys come from
-- a file: never use it to protect anything.
--
--   local aead = gcm.new(key)                                 key: 32 bytes, as all strings here
--   local plain = gcm.open(aead, nonce, aad, sealed)          nil when the tag does not hold
--   local start = gcm.peek(aead, nonce, sealed, count)        the first bytes, unchecked

local gcm = {}

local ROUNDS = 14
local KEY_WORDS = 8
local TAG_BYTES = 16
local TAG_ZERO = ('\0'):rep(TAG_BYTES)

-- Lua 5.2 has a library for bits, later ones have operators, which 5.2 can't even parse.
local bits = bit32 or assert(load([[
  local M = 0xffffffff
  return {
    band = function(a, b) return a & b end,
    bxor = function(a, b, c, d, e) return a ~ b ~ (c or 0) ~ (d or 0) ~ (e or 0) end,
    lshift = function(a, n) return (a << n) & M end,
    rshift = function(a, n) return a >> n end,
    rrotate = function(a, n) return ((a >> n) | (a << (32 - n))) & M end,
    extract = function(a, at, width) return (a >> at) & ((1 << width) - 1) end,
  }]]))()
local band, bxor, lshift, rshift = bits.band, bits.bxor, bits.lshift, bits.rshift
local rrotate, extract = bits.rrotate, bits.extract
local byte, char = string.byte, string.char

local function word(a, b, c, d)
  return a * 0x1000000 + b * 0x10000 + c * 0x100 + d
end

-- The four words of the block that starts at `at`; bytes behind the end count as zero.
local function block_at(text, at)
  if at + 15 > #text then text, at = text:sub(at) .. TAG_ZERO, 1 end
  local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p = byte(text, at, at + 15)
  return word(a, b, c, d), word(e, f, g, h), word(i, j, k, l), word(m, n, o, p)
end

local function bytes_of(w)
  return rshift(w, 24), extract(w, 16, 8), extract(w, 8, 8), band(w, 255)
end

local function text_of(w0, w1, w2, w3)
  local a, b, c, d = bytes_of(w0)
  local e, f, g, h = bytes_of(w1)
  local i, j, k, l = bytes_of(w2)
  return char(a, b, c, d, e, f, g, h, i, j, k, l, bytes_of(w3))
end

-- ---------------------------------------------------------------- AES, encryption only

-- Twice `x` in AES's field.
local function double(x)
  local twice = x * 2
  return twice > 255 and bxor(twice, 0x11b) or twice
end

-- S-box, and for each place in a column what one byte contributes to a round: SubBytes and MixColumns.
local SBOX, T0, T1, T2, T3 = {}, {}, {}, {}, {}
do
  local power, log = {}, {}
  local x = 1
  for exponent = 0, 254 do
    power[exponent], log[x] = x, exponent
    x = bxor(x, double(x)) -- 3 generates the field.
  end
  for value = 0, 255 do
    local inverse = value == 0 and 0 or power[(255 - log[value]) % 255]
    local s = 0x63
    for turn = 0, 4 do
      s = bxor(s, band(bxor(lshift(inverse, turn), rshift(inverse, 8 - turn)), 255))
    end
    SBOX[value] = s
    T0[value] = word(double(s), s, s, bxor(s, double(s)))
    T1[value], T2[value], T3[value] = rrotate(T0[value], 8), rrotate(T0[value], 16), rrotate(T0[value], 24)
  end
end

local function substitute(w)
  local a, b, c, d = bytes_of(w)
  return word(SBOX[a], SBOX[b], SBOX[c], SBOX[d])
end

local function expand(key)
  local words = {}
  for index = 0, KEY_WORDS - 1 do words[index] = word(byte(key, 4 * index + 1, 4 * index + 4)) end
  local constant = 1
  for index = KEY_WORDS, 4 * ROUNDS + 3 do
    local last = words[index - 1]
    if index % KEY_WORDS == 0 then
      last = bxor(substitute(rrotate(last, 24)), lshift(constant, 24))
      constant = double(constant)
    elseif index % KEY_WORDS == 4 then
      last = substitute(last)
    end
    words[index] = bxor(words[index - KEY_WORDS], last)
  end
  return words
end

local function encrypt(keys, a, b, c, d)
  a, b, c, d = bxor(a, keys[0]), bxor(b, keys[1]), bxor(c, keys[2]), bxor(d, keys[3])
  local at = 4
  for _ = 1, ROUNDS - 1 do
    a, b, c, d =
      bxor(T0[rshift(a, 24)], T1[extract(b, 16, 8)], T2[extract(c, 8, 8)], T3[band(d, 255)], keys[at]),
      bxor(T0[rshift(b, 24)], T1[extract(c, 16, 8)], T2[extract(d, 8, 8)], T3[band(a, 255)], keys[at + 1]),
      bxor(T0[rshift(c, 24)], T1[extract(d, 16, 8)], T2[extract(a, 8, 8)], T3[band(b, 255)], keys[at + 2]),
      bxor(T0[rshift(d, 24)], T1[extract(a, 16, 8)], T2[extract(b, 8, 8)], T3[band(c, 255)], keys[at + 3])
    at = at + 4
  end
  local function last(p, q, r, s, key)
    return bxor(word(SBOX[rshift(p, 24)], SBOX[extract(q, 16, 8)], SBOX[extract(r, 8, 8)], SBOX[band(s, 255)]), key)
  end
  return last(a, b, c, d, keys[at]), last(b, c, d, a, keys[at + 1]), last(c, d, a, b, keys[at + 2]),
    last(d, a, b, c, keys[at + 3])
end

-- ---------------------------------------------------------------- GHASH

-- GCM writes polynomials with their lowest power first: to multiply by x is to shift right.
local function times_x(w0, w1, w2, w3)
  local carry = band(w3, 1)
  w3 = bxor(rshift(w3, 1), lshift(w2, 31))
  w2 = bxor(rshift(w2, 1), lshift(w1, 31))
  w1 = bxor(rshift(w1, 1), lshift(w0, 31))
  w0 = rshift(w0, 1)
  return carry == 1 and bxor(w0, 0xe1000000) or w0, w1, w2, w3
end

-- What the byte that is shifted out adds at the other end.
local REDUCED = {}
for value = 0, 255 do
  local w0, w1, w2, w3 = 0, 0, 0, value
  for _ = 1, 8 do w0, w1, w2, w3 = times_x(w0, w1, w2, w3) end
  REDUCED[value] = w0
end

-- The products of H with every byte, by word.
local function products(h0, h1, h2, h3)
  local m0, m1, m2, m3 = { [0] = 0 }, { [0] = 0 }, { [0] = 0 }, { [0] = 0 }
  local power = 128
  while power >= 1 do
    m0[power], m1[power], m2[power], m3[power] = h0, h1, h2, h3
    h0, h1, h2, h3 = times_x(h0, h1, h2, h3)
    power = power / 2
  end
  power = 2
  while power <= 128 do
    for rest = 1, power - 1 do
      local sum = power + rest
      m0[sum], m1[sum] = bxor(m0[power], m0[rest]), bxor(m1[power], m1[rest])
      m2[sum], m3[sum] = bxor(m2[power], m2[rest]), bxor(m3[power], m3[rest])
    end
    power = power * 2
  end
  return { m0, m1, m2, m3 }
end

-- (y xor block) times H for each block of `text`.
local function hash(table_, text, y0, y1, y2, y3)
  local m0, m1, m2, m3 = table_[1], table_[2], table_[3], table_[4]
  local y = {}
  for at = 1, #text, 16 do
    local b0, b1, b2, b3 = block_at(text, at)
    y[1], y[2], y[3], y[4] = bxor(y3, b3), bxor(y2, b2), bxor(y1, b1), bxor(y0, b0)
    local z0, z1, z2, z3 = 0, 0, 0, 0
    for index = 1, 4 do
      local w = y[index]
      for place = 0, 24, 8 do
        local b = extract(w, place, 8)
        local out = band(z3, 255)
        z3 = bxor(rshift(z3, 8), lshift(z2, 24), m3[b])
        z2 = bxor(rshift(z2, 8), lshift(z1, 24), m2[b])
        z1 = bxor(rshift(z1, 8), lshift(z0, 24), m1[b])
        z0 = bxor(rshift(z0, 8), REDUCED[out], m0[b])
      end
    end
    y0, y1, y2, y3 = z0, z1, z2, z3
  end
  return y0, y1, y2, y3
end

-- ---------------------------------------------------------------- GCM

function gcm.new(key)
  assert(#key == 4 * KEY_WORDS, 'an AES-256 key has 32 bytes')
  local keys = expand(key)
  return { keys = keys, products = products(encrypt(keys, 0, 0, 0, 0)) }
end

-- The first `count` bytes of what `text` hides.
local function counter_mode(aead, n0, n1, n2, text, count)
  local parts = {}
  local counter = 1
  for at = 1, count, 16 do
    counter = counter + 1
    local k0, k1, k2, k3 = encrypt(aead.keys, n0, n1, n2, counter)
    local b0, b1, b2, b3 = block_at(text, at)
    parts[counter - 1] = text_of(bxor(k0, b0), bxor(k1, b1), bxor(k2, b2), bxor(k3, b3))
  end
  return table.concat(parts):sub(1, count)
end

function gcm.open(aead, nonce, aad, sealed)
  local count = #sealed - TAG_BYTES
  if count < 0 then return nil end
  local n0, n1, n2 = block_at(nonce, 1)
  local text = sealed:sub(1, count)
  local y0, y1, y2, y3 = hash(aead.products, aad, 0, 0, 0, 0)
  y0, y1, y2, y3 = hash(aead.products, text, y0, y1, y2, y3)
  -- Both lengths in bits; neither is near 2^32.
  y0, y1, y2, y3 = hash(aead.products, text_of(0, #aad * 8, 0, count * 8), y0, y1, y2, y3)
  local k0, k1, k2, k3 = encrypt(aead.keys, n0, n1, n2, 1)
  local tag = text_of(bxor(y0, k0), bxor(y1, k1), bxor(y2, k2), bxor(y3, k3))
  if tag ~= sealed:sub(count + 1) then return nil end
  return counter_mode(aead, n0, n1, n2, text, count)
end

function gcm.peek(aead, nonce, sealed, count)
  local n0, n1, n2 = block_at(nonce, 1)
  return counter_mode(aead, n0, n1, n2, sealed, math.min(count, #sealed))
end

return gcm
