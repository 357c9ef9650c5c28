"""Reports for people who decide: daily summary, weekly deep dive, reviews at looks, the final decision.

`history` notes the hours -> `content` is all that is known -> `kinds` puts sections (`standing`, `safety`, `measured`,
`record`, `pictures`) together to a `document` -> `page` and `markdown` -> `write`. `schedule` says which are due.
"""
