"""Small experiments: what a pooling method does to a network's quality, beside what it costs. Above adapool and suites.

Nothing here knows how a table or a chart is made; that is reports' business.
"""
