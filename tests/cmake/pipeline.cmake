# The compiler and the programs it emits, from the command line.
set(pipeline_tests "")
foreach(name same_numbers accumulate early resume bad_input names reports tiles)
  add_test(NAME pipeline_${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/${name}.sh $<TARGET_FILE:rematc>
           ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/${name})
  set_tests_properties(pipeline_${name} PROPERTIES TIMEOUT 800)
  list(APPEND pipeline_tests pipeline_${name})
endforeach()
if(REMAT_SANITIZE)
  set_tests_properties(${pipeline_tests} PROPERTIES
    ENVIRONMENT "CFLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all;LDFLAGS=-fsanitize=address,undefined")
endif()
