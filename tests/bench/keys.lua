-- Requests of random keys for wrk, made before the time is taken. The argument after `--` is the number of keys.

local requests = {}
local count = 20000
local last = 0

function init(arguments)
  local keys = tonumber(arguments[1])
  math.randomseed(1)
  for number = 1, count do
    requests[number] = wrk.format("GET", string.format("/v1/kv/key-%016d", math.random(0, keys - 1)))
  end
end

function request()
  last = last % count + 1
  return requests[last]
end
