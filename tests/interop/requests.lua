-- What wrk asks for. One argument: the share of payments, in percent, that nginx will not take.
local failing_pct, count = 0, 0

function init(args)
  failing_pct = tonumber(args[1])
end

function delay()
  return 10 -- ms, for each connection
end

function request()
  count = count + 1
  local path = "/orders/" .. count
  if count % 50 == 0 then
    path = "/report"
  elseif count % 4 == 0 then
    path = "/payments/" .. count .. ((count % 100 < failing_pct) and "7" or "1")
  end
  return wrk.format("GET", path)
end
