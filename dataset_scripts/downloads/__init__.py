"""Open corpora from PhysioNet: ``python -m dataset_scripts.TASK --download --raw DIR``.

==================  ================================================================================
database            which files of a database a task reads, and whose they are
file_list           SHA256SUMS.txt and RECORDS: names that are checked, sums
download_settings   what a download can be told; the errors of downloads
file_server         one file over HTTP: resumed, tried again, never longer than it may be
download_record     what is known of files in the folder from earlier starts
download_plan       what is there, what is wrong, what is to be fetched; said before it starts
downloading         several files at once, from list to verified files
download_command    the options of the command line
==================  ================================================================================
"""
