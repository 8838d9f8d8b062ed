# The compiler and the programs it emits, from the command line.
foreach(name same_numbers resume bad_input reports tiles)
  add_test(NAME pipeline_${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/${name}.sh $<TARGET_FILE:rematc>
           ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/${name})
  set_tests_properties(pipeline_${name} PROPERTIES TIMEOUT 800)
endforeach()
if(REMAT_SANITIZE)
  set_tests_properties(pipeline_same_numbers pipeline_resume pipeline_bad_input pipeline_reports pipeline_tiles PROPERTIES
    ENVIRONMENT "CFLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all;LDFLAGS=-fsanitize=address,undefined")
endif()
