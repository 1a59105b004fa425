import time
def wait_until(predicate, *, deadline, what):
    end=time.monotonic()+deadline
    while True:
        v=predicate()
        if v: return v
        assert time.monotonic()<end, f"waited {deadline}s for {what}; last {v!r}"
        time.sleep(0.05)
