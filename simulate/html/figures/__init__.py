"""The plots of the page, one kind in each module: values in, Bokeh figures out."""
