"""Pictures. Every function returns a matplotlib Figure and touches no global state of matplotlib, which is
imported only when something is drawn.
"""
