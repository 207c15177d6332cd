/** How a limit is divided: one atomic step in Redis, whatever number of processes take it at once. */
import { Redis } from "effect/persistence"

/**
 * Says what a process holds and wants, and gets its share and the number of processes. What a process holds is the greater
 * of the share it goes by and what it has used; nobody is given more than the others do not hold.
 *
 * The fair share is the max-min one: the limit is split evenly, who wants less gets what it wants, and so on with the
 * rest; what is left over when all have what they want is split evenly too.
 */
export const divide = Redis.script(
  (
    key: string,
    node: string,
    claim: number,
    used: number,
    demand: number,
    limit: number,
    lease: number,
    ttlMillis: number,
    settleMillis: number
  ) => [key, node, claim, used, demand, limit, lease, ttlMillis, settleMillis],
  {
    numberOfKeys: 1,
    lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, claim, used, demand = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local limit, lease, ttl, settle = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
-- When this began, under a name that no process has.
local born = tonumber(redis.call('HGET', KEYS[1], '') or now)
redis.call('HSETNX', KEYS[1], '', string.format('%.0f', now))
local others, demands = 0, { demand }
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= node and all[i] ~= '' then
    local until_, held, wanted = string.match(all[i + 1], '^(%d+) (%d+) (%d+)$')
    if until_ and tonumber(until_) >= now and tonumber(until_) <= now + 2 * ttl then
      others = others + tonumber(held)
      if tonumber(wanted) > 0 then demands[#demands + 1] = tonumber(wanted) end
    else
      redis.call('HDEL', KEYS[1], all[i])
    end
  end
end
table.sort(demands)
local left, level = limit, nil
for i, wanted in ipairs(demands) do
  local even = left / (#demands - i + 1)
  if wanted >= even then level = even break end
  left = left - wanted
end
local fair = level and math.min(demand, level) or demand + left / #demands
if demand == 0 then fair = 0 end
local share = math.ceil(fair - 1e-9)
if math.abs(now - born) < settle then share = math.min(share, math.max(claim, lease)) end
local free = math.max(0, limit - others)
share = math.min(share, free)
-- Told to do with less, it does as before until it has heard it.
local held = math.max(share, claim, used)
redis.call('HSET', KEYS[1], node, string.format('%.0f %.0f %.0f', now + ttl, held, demand))
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
return { share, #demands }`
  }
).withReturnType<readonly [share: number, nodes: number]>()
