"""Reports for people who decide: daily summary, weekly deep dive, reviews at looks, the final decision."""
