"""Memory that is used again, and what is made of it once."""

import torch

from sklearn_keops_gmm.backends._workspace import Workspace, Workspaces

LIKE = torch.empty(0, dtype=torch.float32)


def test_arrays_share_the_memory_of_their_name():
    workspace = Workspace(LIKE)
    large, small = workspace.array("a", 3, 4), workspace.array("a", 2, 5)
    other = workspace.array("b", 3, 4)
    assert (large.shape, small.shape, large.dtype) == ((3, 4), (2, 5), LIKE.dtype)
    assert large.data_ptr() == small.data_ptr() != other.data_ptr()
    assert workspace.array("a", 3, 4) is large


def test_what_is_made_belongs_to_memory_that_is_in_use():
    """Once an array has outgrown its memory, nothing points to the old one."""
    workspace = Workspace(LIKE)

    def first_row():
        return workspace.made("row", lambda array: array[0], "a", 2, 3)

    row = first_row()
    assert first_row() is row
    workspace.array("a", 100, 100)
    assert first_row().data_ptr() == workspace.array("a", 2, 3).data_ptr()
    assert first_row() is not row


def test_as_many_workspaces_as_are_lent_at_a_time():
    workspaces = Workspaces(LIKE)
    with workspaces.one() as first, workspaces.one() as second:
        assert first is not second
    with workspaces.one() as again:
        assert again in (first, second)
