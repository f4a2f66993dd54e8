"""What fits and answers were, bit for bit: a guard for changes that change nothing.

    python -m tests.golden make     write golden.json, and say what differs from before
    python -m tests.golden check    compare with it, and print each difference
    python -m tests.golden ids      print the sorted ids of all tests

`check` takes words: only cases whose names contain all of them are compared. The file
holds for one thread, one kind of machine and one set of versions, which it names.
"""
