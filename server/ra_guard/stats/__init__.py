"""Statistics of the experiment: numbers in, numbers out. No files, no clock, no randomness; numpy and scipy only.

In the order of use:

- `ndcg`: what one request is worth
- `moments`: an arm as sufficient statistics that add
- `effects`: arms compared once, at a sample size fixed in advance; `one_sample`: a mean on its own
- `sequential`: arms compared at a few planned looks
- `anytime`, `proportions`: arms compared as often as one likes
- `quantiles`, `quantile_tests`: the same for a quantile, such as P95 latency
- `srm`, `power`: whether the split is right, and how many users are enough

Every comparison returns an `outcome.Effect`, or `outcome.Insufficient` where the data cannot say.
"""
