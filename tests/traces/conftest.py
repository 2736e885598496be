"""Its being here lets the tests in subfolders import this folder's helpers."""
