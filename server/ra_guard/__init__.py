"""RA-Guard reranks image search results, and proves online that it helps."""
