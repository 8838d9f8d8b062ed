autocmd BufRead,BufNewFile *.remat setfiletype remat
